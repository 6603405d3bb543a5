-- One round trip: what the warden wants to know of a database. Works on a standby.
SELECT pg_catalog.pg_is_in_recovery(),
       pg_catalog.clock_timestamp(),
       pg_catalog.pg_postmaster_start_time(),
       pg_catalog.current_setting('max_prepared_transactions')::int,
       holdfast.current_position(),
       (SELECT coalesce(max(version), 0) FROM holdfast.schema_version),
       l.term, l.valid_until, l.server_started, l.sealed_term, l.drained_term, l.renewal,
       ARRAY(SELECT term FROM holdfast.terms ORDER BY term),
       coalesce((SELECT site FROM holdfast.terms ORDER BY term DESC LIMIT 1), ''),
       coalesce(p.id, 0), coalesce(p.term, 0), coalesce(p.site, ''), coalesce(p.pinned_at, 'epoch'),
       coalesce(p.server_started, 'epoch'), coalesce(p.for_ms, 0), coalesce(p.lease_ms, 0), coalesce(p.margin_ms, 0),
       coalesce(p.asked_by, ''), coalesce(p.reason, ''), p.confirmed_at, p.ended_at
FROM holdfast.write_lease AS l
LEFT JOIN (SELECT * FROM holdfast.pins ORDER BY id DESC LIMIT 1) AS p ON true
