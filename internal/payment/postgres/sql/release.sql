-- $1 payment id. Ends the claim, so that the client's next attempt or the recovery worker may go on.
UPDATE payd.payments
SET claimed_until = clock_timestamp()
WHERE id = $1 AND status = 'pending'
