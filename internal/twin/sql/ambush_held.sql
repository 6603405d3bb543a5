-- $1 step. Returns the backends whose statements are held inside it. The keys of an advisory lock are shown unsigned.
SELECT coalesce(array_agg(pid), '{}')
FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND granted
  AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND classid::bigint = hashtext('twin.ambush')::bigint & 4294967295
  AND objid::bigint = hashtext($1)::bigint & 4294967295
