-- $1 payment id. The recorded answer, and for how long the lease covers it (P10).
SELECT coalesce(p.response_status, 0), coalesce(p.response_body, ''),
       coalesce((SELECT r.ms FROM holdfast.remaining_lease AS r), 0)
FROM payd.payments AS p
WHERE p.id = $1
