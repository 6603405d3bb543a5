-- $1 payment id, $2 status, $3 reason, $4 authorization code, $5 response status, $6 response body,
-- the entries: $7 accounts, $8 kinds, $9 merchants, $10 currencies, $11 amounts. Returns whether the caller was the first to finish.
WITH decided AS (
    UPDATE payd.payments
    SET status = $2, reason = $3, authorization_code = $4, decided_at = clock_timestamp(),
        response_status = $5, response_body = $6
    WHERE id = $1 AND status = 'pending'
    RETURNING id
), opened AS (
    INSERT INTO payd.accounts (id, kind, merchant, currency)
    SELECT e.account, e.kind, e.merchant, e.currency
    FROM decided, unnest($7::text[], $8::text[], $9::text[], $10::text[]) AS e (account, kind, merchant, currency)
    WHERE NOT EXISTS (SELECT FROM payd.accounts WHERE id = e.account)
    ON CONFLICT (id) DO NOTHING
), booked AS (
    INSERT INTO payd.ledger_entries (payment_id, account, currency, amount)
    SELECT decided.id, e.account, e.currency, e.amount
    FROM decided, unnest($7::text[], $10::text[], $11::bigint[]) AS e (account, currency, amount)
)
SELECT EXISTS (SELECT FROM decided)
