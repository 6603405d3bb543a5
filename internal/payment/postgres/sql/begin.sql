-- $1 merchant, $2 key, $3 fingerprint, $4 payment id, $5 claim in milliseconds, $6 charge reference, $7 amount,
-- $8 currency, $9 payment method, $10 merchant reference. Returns whether the payment is the caller's to work on.
-- A known key is taken over if it is the same order, is not answered yet, and nobody works on it: a claim that was made
-- on another server (before a failover or a restart) does not count.
WITH claim AS (
    INSERT INTO payd.idempotency_keys AS k (merchant, key, fingerprint, payment_id, claimed_until, claimed_server)
    VALUES ($1, $2, $3, $4, clock_timestamp() + $5::bigint * interval '1 millisecond', pg_postmaster_start_time())
    ON CONFLICT (merchant, key) DO UPDATE
    SET claimed_until = excluded.claimed_until, claimed_server = excluded.claimed_server, attempts = k.attempts + 1
    WHERE k.response_status IS NULL
      AND k.fingerprint = excluded.fingerprint
      AND (k.claimed_until <= clock_timestamp() OR k.claimed_server <> excluded.claimed_server)
    RETURNING k.merchant
), recorded AS (
    INSERT INTO payd.payments (id, merchant, idempotency_key, charge_reference, amount, currency, payment_method, merchant_reference)
    SELECT $4, $1, $2, $6, $7::bigint, $8, $9, $10 FROM claim
    ON CONFLICT (id) DO NOTHING
)
SELECT EXISTS (SELECT FROM claim)
