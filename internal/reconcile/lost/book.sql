-- $1 charge references
SELECT p.id, p.charge_reference, p.status, p.amount, p.currency,
       coalesce((SELECT count(*) >= 2 AND sum(e.amount) = 0 FROM payd.ledger_entries AS e WHERE e.payment_id = p.id), false)
FROM payd.payments AS p
JOIN unnest($1::text[]) AS r (reference) ON r.reference = p.charge_reference
