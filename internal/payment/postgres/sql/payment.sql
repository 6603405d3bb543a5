SELECT p.id, p.charge_reference, p.merchant, p.idempotency_key, p.amount, p.currency, p.payment_method,
       p.merchant_reference, p.status, p.reason, p.authorization_code, p.created_at, p.decided_at
FROM payd.payments AS p
WHERE p.id = $1
