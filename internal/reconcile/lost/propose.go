package lost

import "fmt"

// Action is what a report proposes to do about a payment.
type Action string

// The proposed actions. None of them is done by this package.
const (
	// DoNothing: the survivor has it as the acquirer has it, or no money moved.
	DoNothing Action = "none"
	// DoWait: payd's recovery worker finishes it by itself.
	DoWait Action = "wait"
	// DoBook: money moved, and the merchant may have been told. The same order, sent to payd again, is booked under the
	// acquirer's first answer.
	DoBook Action = "book"
	// DoSendAgain: whether money moved is not known, or nobody was told. The same order again makes the same charge.
	DoSendAgain Action = "send-again"
	// DoVoid: money moved and nobody has an order for it.
	DoVoid Action = "void"
	// DoLook: the witnesses contradict each other; a person decides.
	DoLook Action = "look"
)

// pending is payd's status of a payment that is not decided.
const pending = "pending"

// evidence is what is known of one payment. A status is empty where the witness does not have the payment.
type evidence struct {
	old, charge, survivor string
	booked                bool
	// conflict is a contradiction that makes all else moot.
	conflict string
	// exported: an export was read, so an order that it lacks was not in the old ledger. asked: the acquirer was.
	exported, asked bool
}

// propose decides by P21: "not found" at the acquirer never means that a charge failed, and the same reference sent again
// is the same charge.
func propose(e evidence) (action Action, why string) {
	switch {
	case e.conflict != "":
		return DoLook, e.conflict
	case e.charge != "" && e.charge != Approved && e.charge != Declined && e.charge != Voided:
		return DoLook, fmt.Sprintf("the acquirer calls it %q", e.charge)
	case e.survivor != "":
		return proposeKnown(e)
	}
	charged := e.charge == Approved
	switch e.old {
	case "":
		switch {
		case charged && e.exported:
			return DoVoid, "charged, and no ledger, old or new, has the order"
		case charged:
			return DoLook, "charged, and the surviving ledger does not have it; what the old one had was not read"
		}
		return DoNothing, "no money moved"
	case Approved:
		switch {
		case charged:
			return DoBook, "charged, and the merchant may have been told; the same order again is booked without a second charge"
		case e.charge != "":
			return DoLook, "approved in the old ledger, " + e.charge + " at the acquirer"
		}
		if !e.asked {
			return DoSendAgain, "the merchant may have been told; the acquirer was not asked"
		}
		return DoSendAgain, "the merchant may have been told; that the acquirer's list lacks it does not mean that it failed"
	case pending:
		switch {
		case charged:
			return DoSendAgain, "charged, and nobody was told; the same order again is booked without a second charge"
		case e.charge != "":
			return DoNothing, "no money moved, and nobody was told"
		}
		return DoSendAgain, "nobody was told, and the charge may still arrive: send it again, or void the reference at the acquirer for good"
	case Declined:
		if charged {
			return DoLook, "declined in the old ledger, charged at the acquirer"
		}
		return DoNothing, "no money moved; the same order again gets the same answer"
	}
	return DoLook, "the old ledger has it as " + e.old
}

// proposeKnown is propose for a payment that the survivor has.
func proposeKnown(e evidence) (Action, string) {
	charged := e.charge == Approved
	switch {
	case e.survivor == pending:
		return DoWait, "the surviving site sends the same reference again by itself"
	case (e.old == Approved || e.old == Declined) && e.old != e.survivor:
		return DoLook, e.old + " in the old ledger, " + e.survivor + " in the surviving one"
	case e.survivor == Approved:
		switch {
		case !e.booked:
			return DoLook, "approved in the surviving ledger, without entries that balance"
		case e.charge != "" && !charged:
			return DoLook, "approved in the surviving ledger, " + e.charge + " at the acquirer"
		}
		return DoNothing, "the surviving ledger has it"
	case e.survivor == Declined:
		if charged {
			return DoLook, "declined in the surviving ledger, charged at the acquirer"
		}
		return DoNothing, "declined in the surviving ledger too"
	}
	return DoLook, "the surviving ledger has it as " + e.survivor
}
