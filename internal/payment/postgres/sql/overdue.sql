-- $1 limit, $2 claim in milliseconds. Claims pending payments that nobody works on. The claim grows with every attempt,
-- up to 16 times, so that an acquirer in trouble is not flooded. SKIP LOCKED lets several workers share the work.
UPDATE payd.payments AS p
SET attempts = p.attempts + 1,
    claimed_until = clock_timestamp() + $2::bigint * least(power(2, p.attempts - 1), 16) * interval '1 millisecond',
    claimed_server = pg_postmaster_start_time()
FROM (
    SELECT id
    FROM payd.payments
    WHERE status = 'pending'
      AND (claimed_until <= clock_timestamp() OR claimed_server <> pg_postmaster_start_time())
    ORDER BY claimed_until
    LIMIT $1
    FOR UPDATE SKIP LOCKED
) AS open
WHERE p.id = open.id
RETURNING p.id, p.charge_reference, p.merchant, p.idempotency_key, p.amount, p.currency, p.payment_method,
    p.merchant_reference, p.status, p.reason, p.authorization_code, p.created_at, p.decided_at
