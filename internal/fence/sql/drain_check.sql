-- Takes a transaction id: the boundary below which everything that may have missed the seal is found.
SELECT term, sealed_term,
       pg_catalog.current_setting('max_prepared_transactions')::int,
       pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       pg_catalog.pg_current_xact_id()::text
FROM holdfast.write_lease
