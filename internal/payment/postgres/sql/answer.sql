-- $1 payment id. The recorded answer.
SELECT coalesce(k.response_status, 0), coalesce(k.response_body, '')
FROM payd.payments AS p
JOIN payd.idempotency_keys AS k ON k.merchant = p.merchant AND k.key = p.idempotency_key
WHERE p.id = $1
