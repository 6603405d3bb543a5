-- What holds a warden's statement inside its step: while the step's row is armed, the statement that is the step waits in
-- a trigger, and says so with a lock of its own. The other site's, after a move that went another way, does not. It stops
-- waiting after ten seconds, should whoever armed it be gone.
CREATE SCHEMA IF NOT EXISTS twin;
CREATE TABLE IF NOT EXISTS twin.ambush (step text PRIMARY KEY, site text NOT NULL, armed boolean NOT NULL);

CREATE OR REPLACE FUNCTION twin.ambushed(wanted text, here text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS
$$ SELECT coalesce((SELECT armed FROM twin.ambush WHERE step = wanted AND site = here), false) $$;

CREATE OR REPLACE FUNCTION twin.hold() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    -- Who records a term says so; who ends one has recorded it.
    here text := coalesce(to_jsonb(NEW) ->> 'site', (SELECT site FROM holdfast.terms ORDER BY term DESC LIMIT 1));
BEGIN
    IF twin.ambushed(TG_ARGV[0], here) THEN
        PERFORM pg_advisory_xact_lock_shared(hashtext('twin.ambush'), hashtext(TG_ARGV[0]));
        FOR i IN 1 .. 1000 LOOP
            EXIT WHEN NOT twin.ambushed(TG_ARGV[0], here);
            PERFORM pg_sleep(0.01);
        END LOOP;
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER twin_hold_seal BEFORE UPDATE ON holdfast.write_lease
    FOR EACH ROW WHEN (NEW.sealed_term > OLD.sealed_term) EXECUTE FUNCTION twin.hold('seal');
CREATE OR REPLACE TRIGGER twin_hold_drain BEFORE UPDATE ON holdfast.write_lease
    FOR EACH ROW WHEN (NEW.drained_term > OLD.drained_term) EXECUTE FUNCTION twin.hold('drain');
CREATE OR REPLACE TRIGGER twin_hold_record_term BEFORE INSERT ON holdfast.terms
    FOR EACH ROW EXECUTE FUNCTION twin.hold('record-term');
