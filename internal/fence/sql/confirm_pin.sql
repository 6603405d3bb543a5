-- $1 id, $2 evidence. Changes the newest pin only, while it is open and nothing later or sealed has come between.
UPDATE holdfast.pins AS p
SET confirmed_at = coalesce(p.confirmed_at, pg_catalog.clock_timestamp()), evidence = $2
FROM holdfast.write_lease AS l
WHERE p.id = $1 AND p.ended_at IS NULL
  AND p.id = (SELECT max(id) FROM holdfast.pins)
  AND p.server_started = pg_catalog.pg_postmaster_start_time()
  AND l.term = p.term AND l.sealed_term < p.term
  AND p.term = (SELECT max(term) FROM holdfast.terms)
RETURNING p.id
