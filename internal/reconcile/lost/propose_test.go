package lost

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPropose(t *testing.T) {
	for _, c := range []struct {
		name string
		evidence
		want Action
	}{
		{"acknowledged, charged", evidence{old: Approved, charge: Approved}, DoBook},
		{"acknowledged, not in the acquirer's list", evidence{old: Approved, asked: true}, DoSendAgain},
		{"acknowledged, voided since", evidence{old: Approved, charge: Voided}, DoLook},
		{"under way, charged", evidence{old: pending, charge: Approved}, DoSendAgain},
		{"under way, not charged so far", evidence{old: pending, asked: true}, DoSendAgain},
		{"under way, declined", evidence{old: pending, charge: Declined}, DoNothing},
		{"declined", evidence{old: Declined, charge: Declined}, DoNothing},
		{"declined, charged", evidence{old: Declined, charge: Approved}, DoLook},
		{"quarantined", evidence{old: "quarantined"}, DoLook},
		{"charged without an order", evidence{charge: Approved, exported: true}, DoVoid},
		{"charged, and nobody read the old ledger", evidence{charge: Approved}, DoLook},
		{"a tombstone", evidence{charge: Voided, exported: true}, DoNothing},
		{"sent again meanwhile", evidence{old: Approved, charge: Approved, survivor: Approved, booked: true}, DoNothing},
		{"under way again", evidence{old: Approved, charge: Approved, survivor: pending}, DoWait},
		{"approved without a booking", evidence{charge: Approved, survivor: Approved}, DoLook},
		{"booked, voided", evidence{charge: Voided, survivor: Approved, booked: true}, DoLook},
		{"declined after an approval", evidence{old: Approved, survivor: Declined}, DoLook},
		{"contradiction", evidence{old: Approved, charge: Approved, conflict: "amounts differ"}, DoLook},
		{"a status that nobody knows", evidence{old: Approved, charge: "chargeback"}, DoLook},
	} {
		if got, why := propose(c.evidence); got != c.want || why == "" {
			t.Errorf("%s: %s (%s), want %s", c.name, got, why, c.want)
		}
	}
}

// TestProposeKeepsToTheRules: whatever the witnesses say, a charge that was not found is never voided or forgotten if its
// order may have been acknowledged, and money that moved outside the surviving ledger never comes to nothing.
func TestProposeKeepsToTheRules(t *testing.T) {
	status := func(t *rapid.T, label string) string {
		return rapid.SampledFrom([]string{"", Approved, Declined, Voided, pending, "quarantined", "chargeback"}).Draw(t, label)
	}
	rapid.Check(t, func(t *rapid.T) {
		e := evidence{
			old: status(t, "old"), charge: status(t, "charge"), survivor: status(t, "survivor"), booked: rapid.Bool().Draw(t, "booked"),
			exported: rapid.Bool().Draw(t, "exported"), asked: rapid.Bool().Draw(t, "asked"),
		}
		action, why := propose(e)
		if !slices.Contains([]Action{DoNothing, DoWait, DoBook, DoSendAgain, DoVoid, DoLook}, action) || why == "" {
			t.Fatalf("%+v: %q because %q", e, action, why)
		}
		safe := e.survivor == Approved && e.booked || e.survivor == pending
		if (e.old == Approved || e.charge == Approved) && action == DoNothing && !safe {
			t.Fatalf("%+v comes to nothing: %s", e, why)
		}
		if action == DoVoid && (e.old != "" || e.survivor != "" || e.charge != Approved) {
			t.Fatalf("%+v is to be voided: %s", e, why)
		}
	})
}
