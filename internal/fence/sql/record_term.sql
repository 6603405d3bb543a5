-- $1 term, $2 site. Returns the site that the term is recorded for ('' if it was refused) and the newest term.
WITH added AS (
    INSERT INTO holdfast.terms (term, site, position)
    SELECT $1::bigint, $2::text, holdfast.current_position()
    WHERE NOT EXISTS (SELECT FROM holdfast.terms WHERE term > $1)
    ON CONFLICT (term) DO NOTHING
    RETURNING term, site
)
SELECT coalesce((SELECT site FROM added), (SELECT site FROM holdfast.terms WHERE term = $1), ''),
       coalesce(greatest((SELECT max(term) FROM holdfast.terms), (SELECT term FROM added)), 0)
