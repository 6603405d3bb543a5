// Package acquirer is the card network of a drill: the one party that moves money. It runs outside both regions and
// keeps a record of its own, so that what it says about double charges does not rest on anything that payd does.
//
// The API:
//
//	PUT  /v1/charges/{reference}       {amount, currency, payment_method, merchant, merchant_reference}
//	                                   201 the first time, 200 with the first answer afterwards; status approved or declined;
//	                                   409 reference_conflict if the reference is known with other contents;
//	                                   409 reference_voided if it was voided, also before it ever arrived
//	GET  /v1/charges/{reference}       200 or 404 not_found, which never means that the charge can't still arrive
//	POST /v1/charges/{reference}/void  200; of an unknown reference it leaves a tombstone that refuses late arrivals
//	GET  /v1/charges?since=RFC3339&after=SEQUENCE&limit=N   {charges, next_after}
//
// Amounts are integers in the currency's minor unit. Latency, lost answers (the charge was made, the client never hears
// of it) and declines are drawn from the seed and the reference, so they do not depend on the order of requests.
package acquirer
