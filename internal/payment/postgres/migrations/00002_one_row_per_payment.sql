-- A payment's idempotency key, claim and answer move into its own row. Keys never expire, so the table of keys had one
-- row for each payment and told nothing that the payment's id, a hash of merchant and key, does not: it cost every
-- payment two more rows, two more index entries and two more checks of the write fence.

-- +goose Up
ALTER TABLE payd.payments
    ADD COLUMN attempts        int         NOT NULL DEFAULT 1,
    ADD COLUMN claimed_until   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN claimed_server  timestamptz NOT NULL DEFAULT pg_postmaster_start_time(),
    ADD COLUMN response_status smallint,
    ADD COLUMN response_body   bytea;
UPDATE payd.payments AS p
SET attempts = k.attempts, claimed_until = k.claimed_until, claimed_server = k.claimed_server,
    response_status = k.response_status, response_body = k.response_body
FROM payd.idempotency_keys AS k
WHERE k.payment_id = p.id;
-- PostgreSQL does not alter a table that has checks to come: the fence's are made here.
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE payd.payments
    DROP CONSTRAINT payments_merchant_idempotency_key_key,
    ADD CONSTRAINT payments_answer CHECK (
        (response_status IS NULL) = (response_body IS NULL) AND (status <> 'pending' OR response_status IS NULL));
DROP TABLE payd.idempotency_keys;
CREATE INDEX payments_pending ON payd.payments (claimed_until) WHERE status = 'pending';

COMMENT ON COLUMN payd.payments.id IS 'a hash of merchant and idempotency key, so that it is unique as they are';
COMMENT ON COLUMN payd.payments.claimed_until IS 'somebody works on the payment until then; void on another server than claimed_server';
COMMENT ON COLUMN payd.payments.response_body IS 'the first answer, byte for byte';
