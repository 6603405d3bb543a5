-- Ends the wardens' connections, whose owners are dead, and returns how many there still were. pg_stat_activity names
-- what internal/warden sets.
SELECT count(pg_catalog.pg_terminate_backend(pid))
FROM pg_catalog.pg_stat_activity
WHERE datname = pg_catalog.current_database() AND application_name = 'holdfast-warden'
