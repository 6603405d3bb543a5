-- $1 payment id, $2 amount, $3 currency, $4 payment method, $5 merchant reference. Whether the recorded order is this one,
-- its answer, and for how long the lease covers that (P10).
SELECT (p.amount, p.currency, p.payment_method, p.merchant_reference) = ($2::bigint, $3, $4, $5), p.created_at,
       coalesce(p.response_status, 0), coalesce(p.response_body, ''),
       CASE WHEN p.response_status IS NULL THEN 0 ELSE coalesce((SELECT r.ms FROM holdfast.remaining_lease AS r), 0) END
FROM payd.payments AS p
WHERE p.id = $1
