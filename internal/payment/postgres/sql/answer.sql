-- $1 payment id. The recorded answer, and for how long the lease covers it (P10).
SELECT coalesce(k.response_status, 0), coalesce(k.response_body, ''),
       coalesce((SELECT r.ms FROM holdfast.remaining_lease AS r), 0)
FROM payd.payments AS p
JOIN payd.idempotency_keys AS k ON k.merchant = p.merchant AND k.key = p.idempotency_key
WHERE p.id = $1
