-- $1 term. The position is read before the update, so it ends with the last commit under the term or later.
UPDATE holdfast.write_lease AS l
SET drained_term = greatest(l.drained_term, $1)
FROM (SELECT holdfast.current_position() AS position) AS p
WHERE l.sealed_term >= $1 AND l.term <= $1
RETURNING p.position
