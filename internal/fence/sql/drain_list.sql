-- $1 boundary. Backends of this database that hold a transaction id or a snapshot older than the boundary.
-- Autovacuum and walsenders can't commit anything into a protected table.
SELECT a.pid, a.backend_start, a.xact_start
FROM pg_catalog.pg_stat_activity AS a
WHERE a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.backend_type NOT IN ('autovacuum worker', 'walsender')
  AND (pg_catalog.age(a.backend_xid) > pg_catalog.age($1::text::xid8::xid)
       OR pg_catalog.age(a.backend_xmin) > pg_catalog.age($1::text::xid8::xid))
