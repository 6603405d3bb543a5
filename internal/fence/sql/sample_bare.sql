-- What can be said of a database without the schema "holdfast".
SELECT pg_catalog.pg_is_in_recovery(),
       pg_catalog.clock_timestamp(),
       pg_catalog.pg_postmaster_start_time(),
       pg_catalog.current_setting('max_prepared_transactions')::int
