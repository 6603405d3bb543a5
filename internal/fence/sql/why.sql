-- What an extension may have been refused for.
SELECT term, sealed_term, pg_catalog.pg_postmaster_start_time(),
       pg_catalog.current_setting('max_prepared_transactions')::int
FROM holdfast.write_lease
