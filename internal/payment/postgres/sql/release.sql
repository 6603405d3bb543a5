-- $1 payment id. Ends the claim, so that the client's next attempt or the recovery worker may go on.
UPDATE payd.idempotency_keys AS k
SET claimed_until = clock_timestamp()
FROM payd.payments AS p
WHERE p.id = $1 AND k.merchant = p.merchant AND k.key = p.idempotency_key AND k.response_status IS NULL
