-- $1 pids, $2 backend starts, $3 transaction starts, $4 terminate them? Returns how many of them are still there.
-- xact_start is NULL if track_activities is off: then a later transaction of the backend passes for the old one,
-- which is slower but safe.
SELECT count(CASE WHEN $4 THEN pg_catalog.pg_terminate_backend(a.pid) ELSE true END)
FROM pg_catalog.pg_stat_activity AS a
JOIN unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) AS old (pid, backend_start, xact_start)
  ON a.pid = old.pid
 AND a.backend_start = old.backend_start
 AND a.xact_start IS NOT DISTINCT FROM old.xact_start
WHERE a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL
