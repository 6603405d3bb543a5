-- Takes a transaction id: the boundary below which everything that may have missed the seal is found. What commits are checked
-- by must refuse them too, because of the seal or because the lease has run out; before version 4 they were checked by the
-- row itself, and there is no such sequence.
SELECT term, sealed_term,
       coalesce(pg_catalog.pg_sequence_last_value(pg_catalog.to_regclass('holdfast.lease_until')), 0)::float8
           <= pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000,
       pg_catalog.current_setting('max_prepared_transactions')::int,
       pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       pg_catalog.pg_current_xact_id()::text
FROM holdfast.write_lease
