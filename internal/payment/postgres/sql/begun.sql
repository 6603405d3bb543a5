-- $1 merchant, $2 key, $3 fingerprint. What is recorded under the key, and for how long the lease covers an answer (P10).
SELECT k.fingerprint = $3, k.payment_id, coalesce(k.response_status, 0), coalesce(k.response_body, ''), p.created_at,
       CASE WHEN k.response_status IS NULL THEN 0 ELSE coalesce((SELECT r.ms FROM holdfast.remaining_lease AS r), 0) END
FROM payd.idempotency_keys AS k
JOIN payd.payments AS p ON p.id = k.payment_id
WHERE k.merchant = $1 AND k.key = $2
