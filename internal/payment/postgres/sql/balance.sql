-- $1 merchant, or '' for all. One row per kind of account and currency.
SELECT a.kind, e.currency, coalesce(sum(e.amount), 0)::bigint,
       coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0)::bigint,
       coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0)::bigint,
       count(DISTINCT e.payment_id)
FROM payd.ledger_entries AS e
JOIN payd.accounts AS a ON a.id = e.account
WHERE $1 = '' OR e.payment_id IN (
    SELECT m.payment_id FROM payd.ledger_entries AS m JOIN payd.accounts AS b ON b.id = m.account WHERE b.merchant = $1
)
GROUP BY a.kind, e.currency
ORDER BY e.currency, a.kind
