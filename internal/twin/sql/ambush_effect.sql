-- What the steps change, in words that differ once one has taken effect.
SELECT pg_catalog.format('sealed %s, drained %s, newest term %s', sealed_term, drained_term, (SELECT max(term) FROM holdfast.terms))
FROM holdfast.write_lease
