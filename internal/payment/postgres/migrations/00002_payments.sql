-- Payments and the ledger. No key comes from a sequence: after a failover the old and the new database must never give
-- one key to two things, or the lost tail could not be told from what came after it.
--
-- A payment, its idempotency key, the claim of whoever works on it and its answer are one row (ADR 0018). Version 1, which
-- was never released, kept them in two, and a database that has it is refused.

-- +goose Up
CREATE TABLE payd.payments (
    id                 text        PRIMARY KEY,
    merchant           text        NOT NULL,
    idempotency_key    text        NOT NULL,
    charge_reference   text        NOT NULL,
    amount             bigint      NOT NULL CHECK (amount > 0),
    currency           text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    payment_method     text        NOT NULL,
    merchant_reference text        NOT NULL,
    status             text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'declined', 'quarantined')),
    reason             text        NOT NULL DEFAULT '',
    authorization_code text        NOT NULL DEFAULT '',
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    decided_at         timestamptz CHECK ((decided_at IS NULL) = (status = 'pending')),
    attempts           int         NOT NULL DEFAULT 1,
    claimed_until      timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_server     timestamptz NOT NULL DEFAULT pg_postmaster_start_time(),
    response_status    smallint,
    response_body      bytea,
    CHECK ((response_status IS NULL) = (response_body IS NULL) AND (status <> 'pending' OR response_status IS NULL))
);
COMMENT ON COLUMN payd.payments.id IS 'a hash of merchant and idempotency key, so that it is unique as they are';
COMMENT ON COLUMN payd.payments.amount IS 'in the currency''s minor unit';
COMMENT ON COLUMN payd.payments.payment_method IS 'a token, never a card number';
COMMENT ON COLUMN payd.payments.claimed_until IS 'somebody works on the payment until then; void on another server than claimed_server';
COMMENT ON COLUMN payd.payments.response_body IS 'the first answer, byte for byte';
CREATE INDEX payments_pending ON payd.payments (claimed_until) WHERE status = 'pending';

CREATE TABLE payd.accounts (
    id         text        PRIMARY KEY,
    kind       text        NOT NULL CHECK (kind IN ('acquirer_receivable', 'merchant_payable')),
    merchant   text        NOT NULL DEFAULT '',
    currency   text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE payd.ledger_entries (
    payment_id text        NOT NULL,
    account    text        NOT NULL,
    currency   text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount     bigint      NOT NULL CHECK (amount <> 0),
    booked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (payment_id, account)
);
COMMENT ON TABLE payd.ledger_entries IS 'append-only; debits are positive, credits negative; the entries of a payment are inserted by one statement and add up to zero';
CREATE INDEX ledger_entries_account ON payd.ledger_entries (account) INCLUDE (amount);

-- Once for a statement, over the rows that it added. A foreign key would lock the acquirer's one account row in every
-- payment; accounts are never removed, so looking is enough.
-- +goose StatementBegin
CREATE FUNCTION payd.check_entries() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    SELECT payment_id INTO wrong FROM added GROUP BY payment_id, currency HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entries of payment % do not add up to zero', wrong USING ERRCODE = 'check_violation',
            HINT = 'Insert all entries of a payment in one statement.';
    END IF;
    SELECT a.account INTO wrong FROM added AS a
    WHERE NOT EXISTS (SELECT FROM payd.accounts AS c WHERE c.id = a.account AND c.currency = a.currency) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'there is no account % in this currency', wrong USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER balanced AFTER INSERT ON payd.ledger_entries REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION payd.check_entries();

-- +goose StatementBegin
CREATE FUNCTION payd.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_RELID::regclass USING ERRCODE = 'restrict_violation',
        HINT = 'Correct a booking with a new one.';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payd.ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION payd.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payd.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION payd.refuse_change();
