-- $1 term, $2 site, $3 for_ms, $4 lease_ms, $5 margin_ms, $6 asked_by, $7 reason. Returns the new row, or none if this
-- database does not serve the term for the site, or the term is sealed. The lock makes a seal wait, or shows it.
WITH lease AS (
    SELECT l.term, l.sealed_term FROM holdfast.write_lease AS l FOR UPDATE
)
INSERT INTO holdfast.pins (term, site, for_ms, lease_ms, margin_ms, asked_by, reason)
SELECT $1::bigint, $2::text, $3::bigint, $4::bigint, $5::bigint, $6::text, $7::text
FROM lease
WHERE lease.term = $1 AND lease.sealed_term < $1
  AND (SELECT t.site FROM holdfast.terms AS t ORDER BY t.term DESC LIMIT 1) = $2
  AND (SELECT max(t.term) FROM holdfast.terms AS t) = $1
RETURNING id, pinned_at, server_started
