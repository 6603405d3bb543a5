-- The write fence, version 2. Idempotent; one transaction, because it is sent as one simple query.
SELECT pg_catalog.pg_advisory_xact_lock(5217480117322001);
-- Rather an error than a queue of waiting commits behind a lock that some long transaction keeps us from.
SELECT pg_catalog.set_config('lock_timeout', '10s', true);

CREATE SCHEMA IF NOT EXISTS holdfast;
COMMENT ON SCHEMA holdfast IS 'Write fence of the disaster recovery: see holdfast.write_lease';

CREATE TABLE IF NOT EXISTS holdfast.schema_version (
    version int PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- A low fill factor keeps the frequent updates of the one row on its page.
CREATE TABLE IF NOT EXISTS holdfast.write_lease (
    singleton      boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    term           bigint      NOT NULL DEFAULT 0,
    valid_until    timestamptz NOT NULL DEFAULT 'epoch',
    server_started timestamptz NOT NULL DEFAULT 'epoch',
    sealed_term    bigint      NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
ALTER TABLE holdfast.write_lease
    ADD COLUMN IF NOT EXISTS drained_term bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS renewal      bigint NOT NULL DEFAULT 0;
INSERT INTO holdfast.write_lease DEFAULT VALUES ON CONFLICT DO NOTHING;

COMMENT ON COLUMN holdfast.write_lease.valid_until IS 'commits pass until then, on this server''s clock';
COMMENT ON COLUMN holdfast.write_lease.server_started IS 'start of the postmaster that the lease was given to; on any other it is void';
COMMENT ON COLUMN holdfast.write_lease.sealed_term IS 'this term and all before it are never extended again';
COMMENT ON COLUMN holdfast.write_lease.drained_term IS 'nothing can be committed under this term any more; set after the last such commit';

CREATE TABLE IF NOT EXISTS holdfast.terms (
    term     bigint      PRIMARY KEY CHECK (term > 0),
    site     text        NOT NULL,
    position text        NOT NULL DEFAULT '',
    at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE holdfast.terms IS 'terms served, in order: the lineage of this database';

-- Break glass (P18): the site that serves the term may go on without the term store for a while. Only the newest row
-- counts. It replicates, and a copy that shows an open row of its newest term never gets a lease of its own meanwhile.
CREATE TABLE IF NOT EXISTS holdfast.pins (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    term           bigint      NOT NULL CHECK (term > 0),
    site           text        NOT NULL,
    pinned_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    server_started timestamptz NOT NULL DEFAULT pg_catalog.pg_postmaster_start_time(),
    for_ms         bigint      NOT NULL CHECK (for_ms > 0),
    lease_ms       bigint      NOT NULL CHECK (lease_ms > 0),
    margin_ms      bigint      NOT NULL CHECK (margin_ms > 0 AND lease_ms >= 2 * margin_ms),
    asked_by       text        NOT NULL,
    reason         text        NOT NULL,
    confirmed_at   timestamptz,
    evidence       text        NOT NULL DEFAULT '',
    ended_at       timestamptz,
    ended_because  text        NOT NULL DEFAULT ''
);
COMMENT ON COLUMN holdfast.pins.server_started IS 'the pin''s times are on this server''s clock; on any other the pin is void';
COMMENT ON COLUMN holdfast.pins.evidence IS 'how it is known that the other site stands still; set with confirmed_at, from which on the pin gives a lease';

-- For people, and for the lineage: where the server is in the log. Empty where the service will not say.
CREATE OR REPLACE FUNCTION holdfast.current_position() RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN coalesce(pg_last_wal_replay_lsn()::text, '');
    END IF;
    RETURN coalesce(pg_current_wal_insert_lsn()::text, '');
EXCEPTION WHEN feature_not_supported OR object_not_in_prerequisite_state OR insufficient_privilege OR undefined_function THEN
    RETURN '';
END
$$;

-- How long commits will pass, in whole milliseconds: 0 without a valid lease. Ask in the same pipeline as COMMIT, and
-- acknowledge only while less than this has gone by on the own clock since before the pipeline was sent.
CREATE OR REPLACE FUNCTION holdfast.remaining_lease_ms() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT greatest(0, floor(extract(epoch FROM l.valid_until - clock_timestamp()) * 1000))::bigint
        FROM holdfast.write_lease AS l
        WHERE l.term > l.sealed_term AND l.server_started = pg_postmaster_start_time()
    ), 0);
END
$$;

-- Runs at commit. It clears the transaction's mark first, so that rows written after an early run are checked again.
CREATE OR REPLACE FUNCTION holdfast.check_write_lease() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lease holdfast.write_lease;
    cause text;
BEGIN
    cause := set_config('holdfast.check_queued', '', true); -- an assignment costs a fraction of a PERFORM
    IF EXISTS (
        SELECT FROM holdfast.write_lease AS l
        WHERE l.valid_until > clock_timestamp() AND l.server_started = pg_postmaster_start_time() AND l.term > l.sealed_term
    ) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO lease FROM holdfast.write_lease;
    cause := CASE
        WHEN lease.term IS NULL OR lease.term = 0 THEN 'no site has been given a lease yet'
        WHEN lease.server_started <> pg_postmaster_start_time() THEN
            format('the lease of term %s was given to another server (started %s, this one %s)',
                   lease.term, lease.server_started, pg_postmaster_start_time())
        WHEN lease.term <= lease.sealed_term THEN format('term %s is sealed', lease.term)
        ELSE format('the lease of term %s ended at %s', lease.term, lease.valid_until)
    END;
    RAISE EXCEPTION 'commit refused: this database holds no valid write lease' USING
        ERRCODE = 'HF001',
        DETAIL = cause,
        HINT = 'Retry at the active site. Its wardens extend the lease; "holdfast status" says which site is active.';
END
$$;

-- Puts the fence on one table. The caller must own it.
CREATE OR REPLACE FUNCTION holdfast.protect(target regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(5217480117322003); -- two at once would both find no trigger
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'holdfast_write_lease') THEN
        -- The WHEN clause runs when a row is written. Its first call in a transaction marks the transaction and
        -- queues the check; the others see the mark. The mark is the transaction's id, so that no left-over
        -- setting can pass for it.
        EXECUTE format(
            'CREATE CONSTRAINT TRIGGER holdfast_write_lease AFTER INSERT OR UPDATE OR DELETE ON %s '
            'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ('
            '  current_setting(''holdfast.check_queued'', true) IS DISTINCT FROM pg_current_xact_id()::text'
            '  AND set_config(''holdfast.check_queued'', pg_current_xact_id()::text, true) IS NOT NULL'
            ') EXECUTE FUNCTION holdfast.check_write_lease()', target);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'holdfast_write_lease_truncate') THEN
        EXECUTE format(
            'CREATE TRIGGER holdfast_write_lease_truncate BEFORE TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION holdfast.check_write_lease()', target);
    END IF;
    IF EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = target AND tgname IN ('holdfast_write_lease', 'holdfast_write_lease_truncate') AND tgenabled <> 'A'
    ) THEN
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER holdfast_write_lease', target);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER holdfast_write_lease_truncate', target);
    END IF;
END
$$;

-- Read from the catalogue, so that it can't be wrong.
CREATE OR REPLACE VIEW holdfast.protected_tables AS
SELECT t.tgrelid::regclass AS relation, n.nspname AS schema_name, c.relname AS table_name, t.tgenabled = 'A' AS always
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE t.tgname = 'holdfast_write_lease' AND t.tgfoid = 'holdfast.check_write_lease'::regproc;

GRANT USAGE ON SCHEMA holdfast TO PUBLIC;
GRANT SELECT ON holdfast.schema_version, holdfast.write_lease, holdfast.terms, holdfast.pins, holdfast.protected_tables TO PUBLIC;

INSERT INTO holdfast.schema_version (version) VALUES (1), (2) ON CONFLICT DO NOTHING;
