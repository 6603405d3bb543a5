-- sample.sql for a database whose schema is of version 1, which has no pins.
SELECT pg_catalog.pg_is_in_recovery(),
       pg_catalog.clock_timestamp(),
       pg_catalog.pg_postmaster_start_time(),
       pg_catalog.current_setting('max_prepared_transactions')::int,
       holdfast.current_position(),
       (SELECT coalesce(max(version), 0) FROM holdfast.schema_version),
       l.term, l.valid_until, l.server_started, l.sealed_term, l.drained_term, l.renewal,
       ARRAY(SELECT term FROM holdfast.terms ORDER BY term),
       coalesce((SELECT site FROM holdfast.terms ORDER BY term DESC LIMIT 1), '')
FROM holdfast.write_lease AS l
