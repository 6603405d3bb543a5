-- $1 term. Returns the row's term and whether the term is sealed now.
WITH sealed AS (
    UPDATE holdfast.write_lease
    SET sealed_term = greatest(sealed_term, $1::bigint)
    WHERE term <= $1
    RETURNING term
)
SELECT l.term, EXISTS (SELECT FROM sealed)
FROM holdfast.write_lease AS l
