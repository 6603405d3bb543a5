-- The write fence, version 4. Idempotent; one transaction, because it is sent as one simple query.
SELECT pg_catalog.pg_advisory_xact_lock(5217480117322001);
-- Rather an error than a queue of waiting commits behind a lock that some long transaction keeps us from.
SELECT pg_catalog.set_config('lock_timeout', '10s', true);

-- Whoever reads the view locks it before the table below, so that this does too: the other way round they would deadlock.
DO $$
BEGIN
    IF pg_catalog.to_regclass('holdfast.remaining_lease') IS NOT NULL THEN
        LOCK TABLE holdfast.remaining_lease IN ACCESS EXCLUSIVE MODE;
    END IF;
END
$$;

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

-- The lease once more, for the check at commit: reading a sequence takes a function call, reading a row a query (ADR 0019).
-- In microseconds since 1970; 0 is never.
CREATE SEQUENCE IF NOT EXISTS holdfast.lease_until MINVALUE 0;
CREATE SEQUENCE IF NOT EXISTS holdfast.lease_server MINVALUE 0;
COMMENT ON SEQUENCE holdfast.lease_until IS 'write_lease.valid_until, or 0 if the term is sealed; holdfast.publish_lease() sets it';
COMMENT ON SEQUENCE holdfast.lease_server IS 'write_lease.server_started; holdfast.publish_lease() sets it';

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

-- To a sequence's value and back. A float8 has room for microseconds until 2106, so what comes back is what was given.
CREATE OR REPLACE FUNCTION holdfast.to_microseconds(at timestamptz) RETURNS bigint
LANGUAGE sql STABLE STRICT RETURN round(date_part('epoch', at) * 1000000::float8)::bigint;
CREATE OR REPLACE FUNCTION holdfast.from_microseconds(us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT RETURN to_timestamp(us::float8 / 1000000::float8);

-- Runs with every change of the lease, while its row is locked, so that changes take turns. What a sequence is set to counts
-- at once, before the transaction commits and though it may not: an extension says no more than the warden knows already
-- when it sends it, and a seal that fails has stopped commits until the next extension. The end is set to never before
-- another server is named, and is never set for a server that is not this one, so that no end is read together with a server
-- that it was not meant for. It runs with the rights of whoever changes the row, and for no other table: anybody may put a
-- trigger with this function on a table of their own.
CREATE OR REPLACE FUNCTION holdfast.publish_lease() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_RELID <> 'holdfast.write_lease'::regclass THEN
        RAISE EXCEPTION 'holdfast.publish_lease() is for holdfast.write_lease alone';
    END IF;
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        PERFORM setval('holdfast.lease_until', 0);
        RETURN NULL;
    END IF;
    IF pg_sequence_last_value('holdfast.lease_server') IS DISTINCT FROM holdfast.to_microseconds(NEW.server_started) THEN
        PERFORM setval('holdfast.lease_until', 0);
        PERFORM setval('holdfast.lease_server', holdfast.to_microseconds(NEW.server_started));
    END IF;
    PERFORM setval('holdfast.lease_until', CASE
        WHEN NEW.term <= NEW.sealed_term OR NEW.server_started <> pg_postmaster_start_time() OR NOT isfinite(NEW.valid_until) THEN 0
        ELSE greatest(0, holdfast.to_microseconds(NEW.valid_until))
    END);
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS publish ON holdfast.write_lease;
CREATE TRIGGER publish AFTER INSERT OR UPDATE OR DELETE ON holdfast.write_lease
    FOR EACH ROW EXECUTE FUNCTION holdfast.publish_lease();
ALTER TABLE holdfast.write_lease ENABLE ALWAYS TRIGGER publish;
DROP TRIGGER IF EXISTS publish_truncate ON holdfast.write_lease;
CREATE TRIGGER publish_truncate AFTER TRUNCATE ON holdfast.write_lease
    FOR EACH STATEMENT EXECUTE FUNCTION holdfast.publish_lease();
ALTER TABLE holdfast.write_lease ENABLE ALWAYS TRIGGER publish_truncate;
UPDATE holdfast.write_lease SET renewal = renewal; -- a lease that runs goes on

-- How long commits will pass, in whole milliseconds; no row without a valid lease. Ask in a statement that goes out with
-- COMMIT, and acknowledge only while less than this has gone by on the own clock since before they were sent.
CREATE OR REPLACE VIEW holdfast.remaining_lease AS
SELECT greatest(0, floor(date_part('epoch', holdfast.from_microseconds(pg_sequence_last_value('holdfast.lease_until'::regclass))
                                            - clock_timestamp()) * 1000))::bigint AS ms
WHERE holdfast.from_microseconds(pg_sequence_last_value('holdfast.lease_server'::regclass)) = pg_postmaster_start_time();

-- The same, for a statement of its own: 0 without a valid lease.
CREATE OR REPLACE FUNCTION holdfast.remaining_lease_ms() RETURNS bigint
LANGUAGE sql VOLATILE RETURN coalesce((SELECT r.ms FROM holdfast.remaining_lease AS r), 0);

-- Never returns. It is apart from the check, so that a commit that passes does not pay for it.
CREATE OR REPLACE FUNCTION holdfast.refuse_commit() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lease holdfast.write_lease;
BEGIN
    SELECT * INTO lease FROM holdfast.write_lease;
    RAISE EXCEPTION 'commit refused: this database holds no valid write lease' USING
        ERRCODE = 'HF001',
        DETAIL = CASE
            WHEN lease.term IS NULL OR lease.term = 0 THEN 'no site has been given a lease yet'
            WHEN lease.server_started <> pg_postmaster_start_time() THEN
                format('the lease of term %s was given to another server (started %s, this one %s)',
                       lease.term, lease.server_started, pg_postmaster_start_time())
            WHEN lease.term <= lease.sealed_term THEN format('term %s is sealed', lease.term)
            WHEN lease.valid_until > clock_timestamp() THEN format('the lease of term %s has just been sealed or changed', lease.term)
            ELSE format('the lease of term %s ended at %s', lease.term, lease.valid_until)
        END,
        HINT = 'Retry at the active site. Its wardens extend the lease; "holdfast status" says which site is active.';
END
$$;

-- Runs at commit, for every row: keep it small. Each IF is an expression that PL/pgSQL evaluates without a query. A SET
-- clause would cost more than the check, so it runs with the search path and the rights of whoever commits, and every name
-- and operator in it is qualified. The server is read before the end (see holdfast.publish_lease). STABLE spares a snapshot
-- for each expression: no sequence and no clock is read by one.
CREATE OR REPLACE FUNCTION holdfast.check_commit() RETURNS trigger
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF holdfast.from_microseconds(pg_catalog.pg_sequence_last_value('holdfast.lease_server'::pg_catalog.regclass))
        OPERATOR(pg_catalog.=) pg_catalog.pg_postmaster_start_time() THEN
        IF holdfast.from_microseconds(pg_catalog.pg_sequence_last_value('holdfast.lease_until'::pg_catalog.regclass))
            OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() THEN
            RETURN NULL;
        END IF;
    END IF;
    PERFORM holdfast.refuse_commit();
    RETURN NULL;
END
$$;

-- Puts the fence on one table, or replaces an older version's. The caller must own it. The triggers of versions 1 and 2
-- go on with holdfast.check_write_lease(), which they left here, until then.
CREATE OR REPLACE FUNCTION holdfast.protect(target regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    attached record;
BEGIN
    PERFORM pg_advisory_xact_lock(5217480117322003); -- two at once would both find no trigger
    FOR attached IN
        SELECT tgname FROM pg_trigger
        WHERE tgrelid = target AND tgname IN ('holdfast_write_lease', 'holdfast_write_lease_truncate')
          AND tgfoid <> 'holdfast.check_commit'::regproc
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', attached.tgname, target);
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'holdfast_write_lease') THEN
        EXECUTE format(
            'CREATE CONSTRAINT TRIGGER holdfast_write_lease AFTER INSERT OR UPDATE OR DELETE ON %s '
            'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION holdfast.check_commit()', target);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'holdfast_write_lease_truncate') THEN
        EXECUTE format(
            'CREATE TRIGGER holdfast_write_lease_truncate BEFORE TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION holdfast.check_commit()', target);
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
SELECT t.tgrelid::regclass AS relation, n.nspname AS schema_name, c.relname AS table_name, t.tgenabled = 'A' AS always,
       t.tgfoid = 'holdfast.check_commit'::regproc AS up_to_date
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE t.tgname = 'holdfast_write_lease'
  AND t.tgfoid IN ('holdfast.check_commit'::regproc, pg_catalog.to_regproc('holdfast.check_write_lease'));

-- Whoever writes to a protected table needs these. They are said here because defaults may have been changed.
GRANT USAGE ON SCHEMA holdfast TO PUBLIC;
GRANT SELECT ON holdfast.schema_version, holdfast.write_lease, holdfast.terms, holdfast.pins, holdfast.protected_tables,
    holdfast.remaining_lease TO PUBLIC;
GRANT SELECT ON SEQUENCE holdfast.lease_until, holdfast.lease_server TO PUBLIC;
GRANT EXECUTE ON FUNCTION holdfast.check_commit(), holdfast.refuse_commit(), holdfast.to_microseconds(timestamptz),
    holdfast.from_microseconds(bigint), holdfast.remaining_lease_ms() TO PUBLIC;

INSERT INTO holdfast.schema_version (version) VALUES (1), (2), (3), (4) ON CONFLICT DO NOTHING;
