-- $1 term, $2 valid_until, $3 renewal, $4 start of the sampled server.
-- The row is locked by the update, so two wardens take turns, and the second sees what the first wrote.
-- Under one term and one server the deadline only grows: an extension that arrives late says less than what is known
-- already. A new term, or a new server (with another clock), starts afresh.
UPDATE holdfast.write_lease AS l
SET valid_until = CASE
        WHEN l.term = $1 AND l.server_started = pg_catalog.pg_postmaster_start_time() THEN greatest(l.valid_until, $2)
        ELSE $2
    END,
    renewal = CASE WHEN l.term = $1 THEN greatest(l.renewal, $3) ELSE $3 END,
    term = $1,
    server_started = pg_catalog.pg_postmaster_start_time()
WHERE l.term <= $1
  AND l.sealed_term < $1
  AND $4::timestamptz = pg_catalog.pg_postmaster_start_time()
  AND pg_catalog.current_setting('max_prepared_transactions')::int = 0
RETURNING l.term
