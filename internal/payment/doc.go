// Package payment is the domain of payd: orders, payments, the double-entry ledger, and the phases that a payment
// runs through. It knows no database and no network; it declares what it needs of them ([Store], [Acquirer]).
//
// # Phases
//
//  1. [Store.Begin] records the idempotency key and the payment as pending, in one transaction.
//  2. [Acquirer.Charge] asks the acquirer for the money, under a reference that is derived from merchant and
//     idempotency key. The reference makes the call idempotent, so it may be sent again at any time, by anyone.
//  3. [Store.Finish] records the outcome, the ledger entries and the answer, in one transaction that only the first
//     of several finishers can make.
//
// The answer is given only after the third phase has been committed, and only while the write lease covers it
// ([Answer.Covered], rule P10). A process may die anywhere in between: the client's retry or [Service.Recover] starts
// again with the second phase.
package payment
