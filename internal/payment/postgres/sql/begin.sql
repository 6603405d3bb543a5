-- $1 payment id, $2 merchant, $3 key, $4 charge reference, $5 amount, $6 currency, $7 payment method, $8 merchant
-- reference, $9 claim in milliseconds. Returns whether the payment is the caller's to work on.
-- A known payment is taken over if it is the same order, is not decided yet, and nobody works on it: a claim that was
-- made on another server (before a failover or a restart) does not count.
WITH claim AS (
    INSERT INTO payd.payments AS p (id, merchant, idempotency_key, charge_reference, amount, currency, payment_method,
        merchant_reference, claimed_until)
    VALUES ($1, $2, $3, $4, $5::bigint, $6, $7, $8, clock_timestamp() + $9::bigint * interval '1 millisecond')
    ON CONFLICT (id) DO UPDATE
    SET claimed_until = excluded.claimed_until, claimed_server = excluded.claimed_server, attempts = p.attempts + 1
    WHERE p.status = 'pending'
      AND (p.amount, p.currency, p.payment_method, p.merchant_reference)
        = (excluded.amount, excluded.currency, excluded.payment_method, excluded.merchant_reference)
      AND (p.claimed_until <= clock_timestamp() OR p.claimed_server <> excluded.claimed_server)
    RETURNING p.id
)
SELECT EXISTS (SELECT FROM claim)
