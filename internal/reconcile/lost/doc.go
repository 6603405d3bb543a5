// Package lost says what became of each payment of payd's that a takeover may have lost (P21, P22). It merges what the
// exports of the old volume and of the snapshot show with the acquirer's own list and with what the surviving ledger
// says, and proposes what is to be done about each payment. It changes nothing, in no ledger and at no acquirer.
//
// [NewReport] and [propose] are pure. [Fetch] and [ReadFile] bring the acquirer's list, [ReadBook] what the survivor has.
package lost
