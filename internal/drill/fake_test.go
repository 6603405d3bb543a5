package drill

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"holdfast/internal/drill/acquirer"
	"holdfast/internal/drill/splitbrain"
	"holdfast/internal/drill/verdict"
	"holdfast/internal/failover"
	"holdfast/internal/reconcile"
	"holdfast/internal/term"
	"holdfast/internal/topology"
	"holdfast/internal/twin"
)

// fakeTwin is two sites with real sockets and real DNS, and maps for databases.
type fakeTwin struct {
	t        *testing.T
	acquirer string
	port     int
	tailDir  string
	names    *dns.Server

	// What goes wrong.
	lag            time.Duration // how far the standby is behind
	loseTail       bool          // the tail is not exported
	inventRefs     bool          // payd makes up a charge reference per attempt, and forgets keys
	neverTakesOver bool
	takesOverIn    time.Duration // zero for at once
	unbalanced     bool
	deniesThird    int // the status of the answer to every third payment, which is charged and booked all the same
	accepts        int // commits that the old database lets through
	noAttempts     bool
	unmet          bool          // nothing is sent into a fault
	slowed         time.Duration // what an attempt takes longer while the application is slow
	writerStays    bool          // a crash leaves the writer where it is
	rejectSwitch   int
	loseOnSwitch   bool
	movesAnyway    bool          // faults that must not move the active site do
	keepsWriting   bool          // faults that must stop the writing do not
	refusesForEver bool          // and a fault stops the payments for good
	refusesFor     time.Duration // and one stops them for so long, that must not
	injectFails    bool
	stuck          map[string]chan struct{} // calls by name that end with the channel and not with their context
	failsToStrike  string                   // a step whose ambushes strike, and fail
	skips          string                   // a step that the wardens do not take
	skipsOnce      string                   // a step that they do not take the first time
	lease, margin  time.Duration            // in the record; zero for short ones
	stopsAfter     time.Duration            // how long a site goes on without the store
	heldGetsIn     int                      // transactions from before a freeze that commit after it
	heldUnanswered int
	activeFails    bool // nobody says which site is active, once the load has ended
	neverQuiet     bool // a payment stays undecided
	chargesLate    bool // a recovery worker charges an order again while the books are not quiet yet
	thawedLands    int
	plantedInTail  []string // keys of transactions that the old database committed and nobody heard of
	plantedKept    int      // and those that the surviving ledger has

	mu      sync.Mutex
	address string
	active  string
	holder  string
	term    term.Number
	// writerMoves is how often the writer has moved inside its site.
	writerMoves int
	refusing    map[string]bool // by site
	injected    []string
	lasting     []twin.Fault
	wanted      *term.Wanted
	withdrawn   chan struct{} // closed by the withdrawal
	tailOf      []term.Number
	ambushes    map[*twin.Ambush]chan twin.Struck
	servers     map[string]*http.Server
	ledgers     map[string]map[string]time.Time // by site: payment id to commit time
	attempts    int
	tails       []string
	downs       int
	drained     bool
	progress    func(Event)
	charged     map[string]any // the newest order that was charged
}

var hosts = map[string]string{"primary": "127.0.0.2", "dr": "127.0.0.3"}

func newFakeTwin(t *testing.T) *fakeTwin {
	t.Helper()
	f := &fakeTwin{
		t: t, slowed: 2 * slowedBy, tailDir: t.TempDir(), active: "primary", holder: "primary", term: 1, address: hosts["primary"], servers: map[string]*http.Server{},
		ledgers: map[string]map[string]time.Time{"primary": {}, "dr": {}},
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	f.names = &dns.Server{PacketConn: conn, Handler: f, NotifyStartedFunc: func() { close(ready) }}
	go func() { _ = f.names.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() { _ = f.names.Shutdown() })
	f.listen("primary")
	f.listen("dr")
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range f.servers {
			_ = s.Close()
		}
	})
	return f
}

func (f *fakeTwin) listen(site string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", hosts[site], f.port))
	if err != nil {
		f.t.Error(err)
		return
	}
	f.port = listener.Addr().(*net.TCPAddr).Port
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.pay(site, w, r) })}
	f.servers[site] = server
	go func() { _ = server.Serve(listener) }()
}

func (f *fakeTwin) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	f.mu.Lock()
	address := f.address
	f.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(q)
	m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 0}, A: net.ParseIP(address)})
	_ = w.WriteMsg(m)
}

// pay charges at the real acquirer and commits to the site's map.
func (f *fakeTwin) pay(site string, w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.attempts++
	n, active, slow := f.attempts, f.active, time.Duration(0)
	if slices.ContainsFunc(f.lasting, func(lasting twin.Fault) bool { return lasting.Name == twin.ApplicationSlow }) {
		slow = f.slowed
	}
	if f.refusing[active] {
		active = ""
	}
	f.mu.Unlock()
	<-time.After(slow)
	if site != active {
		http.Error(w, `{"title":"standby","status":503}`, http.StatusServiceUnavailable)
		return
	}
	var q map[string]any
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	reference := "ch_" + key
	if f.inventRefs {
		reference = fmt.Sprintf("ch_%d", n)
	}
	// What was charged is booked even if the merchant has left, as payd's recovery does.
	status, err := f.charge(context.WithoutCancel(r.Context()), reference, q)
	if err != nil {
		http.Error(w, `{"title":"acquirer","status":503}`, http.StatusServiceUnavailable)
		return
	}
	id := "pay_" + key
	if status == "approved" && !f.commit(site, id, q) {
		http.Error(w, `{"title":"standby","status":503}`, http.StatusServiceUnavailable)
		return
	}
	if f.deniesThird > 0 && n%3 == 0 {
		http.Error(w, `{"title":"no","status":0}`, f.deniesThird)
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"id":%q,"status":%q}`, id, status)
}

func (f *fakeTwin) commit(site, id string, order map[string]any) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active != site || f.refusing[site] {
		return false
	}
	f.ledgers[site][id], f.charged = time.Now(), order
	return true
}

func (f *fakeTwin) charge(ctx context.Context, reference string, body map[string]any) (string, error) {
	text, _ := json.Marshal(body)
	q, err := http.NewRequestWithContext(ctx, http.MethodPut, f.acquirer+"/v1/charges/"+reference, bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return "", err
	}
	if answer.Error != "" {
		return "", errors.New(answer.Error)
	}
	return answer.Status, nil
}

func (f *fakeTwin) Sites() []topology.Site {
	return []topology.Site{{Name: "primary", Region: "us-east-1"}, {Name: "dr", Region: "us-west-2"}}
}
func (f *fakeTwin) DNSName() string  { return "app.payments.test" }
func (f *fakeTwin) Resolver() string { return f.names.PacketConn.LocalAddr().String() }
func (f *fakeTwin) AppPort() int     { return f.port }
func (f *fakeTwin) Speed() float64   { return 10 }

func (f *fakeTwin) DatabaseDSN(site string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return site + strings.Repeat("/reader", f.writerMoves)
}

func (f *fakeTwin) SiteAddress(site string) string { return hosts[site] }

// Inject plays the faults that need more than being there: what a site can't do while it lasts, and who takes over.
func (f *fakeTwin) Inject(_ context.Context, fault twin.Fault) (twin.Fault, error) {
	f.wait("inject")
	if f.injectFails {
		return fault, errors.New("there is no such thing to break")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.injected, f.lasting = append(f.injected, fault.String()), append(f.lasting, fault)
	moves := f.movesAnyway
	switch fault.Name {
	case twin.RegionLoss:
		f.take("dr", failover.Acquire, failover.Promote, failover.RecordTerm, failover.Serve)
		_ = f.servers[fault.Site].Close()
		f.loseTailOf(fault.Site)
		moves = !f.neverTakesOver
		f.active = ""
	case twin.RegionFreeze, twin.IsolatedActive:
		f.loseTailOf(fault.Site)
		moves = !f.neverTakesOver
		f.active = ""
	case twin.DatabaseWriterCrash, twin.ZoneLoss:
		if !f.writerStays {
			f.writerMoves = 1
		}
	case twin.ApplicationDown:
		f.replicate(fault.Site)
		moves, f.active = true, ""
	case twin.ApplicationFailing, twin.StoreLoss:
		refusing := map[string]bool{f.active: !f.keepsWriting}
		if f.stopsAfter == 0 {
			f.refusing = refusing
			break
		}
		time.AfterFunc(f.stopsAfter, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refusing = refusing
		})
	}
	if f.refusesForEver || f.refusesFor > 0 {
		f.refusing = map[string]bool{"primary": true, "dr": true}
	}
	if f.refusesFor > 0 {
		time.AfterFunc(f.refusesFor, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refusing = nil
		})
	}
	if moves {
		to := map[string]string{"primary": "dr", "dr": "primary"}[f.holder]
		time.AfterFunc(cmp.Or(f.takesOverIn, 100*time.Millisecond), func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.serve(to)
		})
	}
	return fault, nil
}

// serve makes a site the active one. The caller holds the lock.
func (f *fakeTwin) serve(site string) {
	f.active, f.holder, f.address = site, site, hosts[site]
	f.term++
}

// replicate gives the other site everything; loseTailOf all but the lag. The caller holds the lock.
func (f *fakeTwin) replicate(site string) {
	for other := range f.ledgers {
		if other != site {
			f.ledgers[other] = maps.Clone(f.ledgers[site])
		}
	}
}

func (f *fakeTwin) loseTailOf(site string) {
	now := time.Now()
	for other := range f.ledgers {
		if other == site {
			continue
		}
		for id, at := range f.ledgers[site] {
			if now.Sub(at) >= f.lag {
				f.ledgers[other][id] = at
			}
		}
	}
}

// ActiveFaults has a count for the kinds of which the twin has one.
func (f *fakeTwin) ActiveFaults() []twin.ActiveFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	met := uint64(1)
	if f.unmet {
		met = 0
	}
	var active []twin.ActiveFault
	for _, fault := range f.lasting {
		a := twin.ActiveFault{Fault: fault}
		if strings.HasPrefix(fault.Name, "link-") || strings.HasPrefix(fault.Name, "store-") || strings.HasPrefix(fault.Name, "isolated-") {
			a.Met = &met
		}
		active = append(active, a)
	}
	return active
}

func (f *fakeTwin) ClearFault(_ context.Context, name, _ string) ([]twin.Fault, error) {
	f.wait("clear")
	f.mu.Lock()
	f.refusing = nil
	f.lasting = slices.DeleteFunc(f.lasting, func(lasting twin.Fault) bool { return lasting.Name == name })
	f.mu.Unlock()
	if name != twin.RegionLoss {
		return nil, nil
	}
	f.listen("primary")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loseTail {
		f.tailOf = []term.Number{1}
		return nil, nil
	}
	f.take("primary", failover.ExportTail)
	var lost []string
	for id := range f.ledgers["primary"] {
		if _, kept := f.ledgers["dr"][id]; !kept {
			lost = append(lost, id)
		}
	}
	folder := filepath.Join(f.tailDir, "tail-primary-term-1")
	f.tails = []string{folder}
	return nil, writeTail(folder, append(lost, f.plantedInTail...))
}

func (f *fakeTwin) Serves(_ context.Context, site string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.active == site
}

func (f *fakeTwin) Record(context.Context) (term.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lease, margin := cmp.Or(f.lease, 250*time.Millisecond), cmp.Or(f.margin, 50*time.Millisecond)
	return term.Record{
		Term: f.term, Holder: f.holder, LeaseMS: lease.Milliseconds(), MarginMS: margin.Milliseconds(), ServedTerm: f.term, Wanted: f.wanted, TailOf: f.tailOf,
	}, nil
}

// writeTail writes an export as reconcile does.
func writeTail(folder string, lost []string) error {
	var lines bytes.Buffer
	for _, id := range lost {
		fmt.Fprintf(&lines, `{"table":"payd.payments","kind":"missing","key":{"id":%q},"old":{"id":%q,"charge_reference":%q}}`+"\n",
			id, id, "ch_"+strings.TrimPrefix(id, "pay_"))
	}
	sum := sha256.Sum256(lines.Bytes())
	manifest, err := json.Marshal(reconcile.Summary{Format: 1, Site: "primary", Term: 1, Missing: len(lost), Tables: []reconcile.Table{{
		Name: "payd.payments", File: "payd.payments.jsonl", SHA256: hex.EncodeToString(sum[:]), Key: []string{"id"}, Missing: len(lost),
	}}})
	return errors.Join(err, os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "payd.payments.jsonl"), lines.Bytes(), 0o600),
		os.WriteFile(filepath.Join(folder, "manifest.json"), manifest, 0o600))
}

// RequestSwitchover waits for a withdrawal where the standby is kept behind.
func (f *fakeTwin) RequestSwitchover(ctx context.Context, site string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rejectSwitch > 0 {
		f.rejectSwitch--
		return errors.New("the target is not ready")
	}
	from := f.holder
	if slices.ContainsFunc(f.lasting, func(lasting twin.Fault) bool { return lasting.Name == twin.ReplicationSlow }) {
		f.active, f.wanted, f.withdrawn = "", &term.Wanted{Site: site}, make(chan struct{})
		f.mu.Unlock()
		defer f.mu.Lock()
		select {
		case <-f.withdrawn:
			return errors.New("the hand-over was taken back")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.replicate(from)
	if f.loseOnSwitch {
		for id, at := range f.ledgers[site] {
			if time.Since(at) < 150*time.Millisecond {
				delete(f.ledgers[site], id)
			}
		}
	}
	f.take(from, failover.Seal, failover.Drain, failover.MoveWriter, failover.Grant)
	f.take(site, failover.Acquire, failover.RecordTerm, failover.Serve)
	f.serve(site)
	return nil
}

func (f *fakeTwin) WithdrawSwitchover(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = nil
	f.take(f.holder, failover.TakeBack)
	f.serve(f.holder)
	close(f.withdrawn)
	return nil
}

func (f *fakeTwin) MoveDatabase(_ context.Context, site string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicate(f.holder)
	f.take(f.holder, failover.Release)
	f.take(site, failover.Acquire, failover.RecordTerm, failover.Serve)
	f.serve(site)
	return nil
}

// take is a site's wardens taking steps. The caller holds the lock.
func (f *fakeTwin) take(site string, steps ...failover.Step) {
	for _, step := range steps {
		if string(step) == f.skips {
			continue
		}
		if string(step) == f.skipsOnce {
			f.skipsOnce = ""
			continue
		}
		for a, struck := range f.ambushes {
			if a.Site != site || a.Step != step || len(struck) > 0 {
				continue
			}
			s := twin.Struck{At: time.Now()}
			if string(step) == f.failsToStrike {
				s.Err = errors.New("the wardens live on")
			}
			f.injected = append(f.injected, a.Fault.String())
			struck <- s
		}
	}
}

func (f *fakeTwin) Ambush(_ context.Context, a twin.Ambush) (<-chan twin.Struck, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	struck := make(chan twin.Struck, 1)
	if f.ambushes == nil {
		f.ambushes = map[*twin.Ambush]chan twin.Struck{}
	}
	f.ambushes[&a] = struck
	return struck, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.ambushes, &a)
		close(struck)
	}, nil
}

func (f *fakeTwin) Active(context.Context) (string, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.activeFails && f.drained {
		return "", false, errors.New("the store does not answer")
	}
	return f.holder, f.active != "", nil
}

func (f *fakeTwin) setDrained(drained bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = drained
}

func (f *fakeTwin) SetProgress(receive func(Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.progress = receive
}

func (f *fakeTwin) TailFolders() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tails
}

// wait makes a call stand still that was told to.
func (f *fakeTwin) wait(call string) {
	if over := f.stuck[call]; over != nil {
		<-over
	}
}

func (f *fakeTwin) Down(context.Context) error {
	f.wait("down")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.downs++
	return nil
}

func (f *fakeTwin) downCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.downs
}

// up is the drill's way to the fake.
func (f *fakeTwin) up(_ context.Context, o UpOptions) (Twin, error) {
	f.acquirer = o.AcquirerURL
	return f, nil
}

// The fake's databases: a DSN is a site's name.

func (f *fakeTwin) books(_ context.Context, dsn string) (books, error) {
	site, _, _ := strings.Cut(dsn, "/")
	return fakeBooks{f, site}, nil
}

func (f *fakeTwin) streaming(context.Context, string, string) (bool, string, error) {
	return true, "", nil
}

func (f *fakeTwin) attack(context.Context, string) attack { return fakeAttack{f} }

func (f *fakeTwin) hold(context.Context, string) (held, error) { return fakeHeld{f}, nil }

type fakeHeld struct{ f *fakeTwin }

func (h fakeHeld) Commit() {}

func (h fakeHeld) Stop() splitbrain.Count {
	return splitbrain.Count{
		Attempts: 8, Accepted: h.f.heldGetsIn, RefusedBy: map[string]int{"HF001": 8 - h.f.heldGetsIn}, Ways: map[string]int{"held": 8},
		Held: 8, HeldAnswered: 8 - h.f.heldUnanswered, Thawed: 2, ThawedLanded: h.f.thawedLands,
	}
}

type fakeAttack struct{ f *fakeTwin }

func (a fakeAttack) Count() splitbrain.Count { return a.Stop() }
func (a fakeAttack) Stop() splitbrain.Count {
	if a.f.noAttempts {
		return splitbrain.Count{}
	}
	return splitbrain.Count{Attempts: 10 + a.f.accepts, Accepted: a.f.accepts, RefusedBy: map[string]int{"HF001": 10}, Ways: map[string]int{"plain": 10}}
}

type fakeBooks struct {
	f    *fakeTwin
	site string
}

func (b fakeBooks) kept(_ context.Context, ids []string) (map[string]bool, error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	found := map[string]bool{}
	for _, id := range ids {
		if _, ok := b.f.ledgers[b.site][id]; ok {
			found[id] = true
		}
	}
	return found, nil
}

func (b fakeBooks) keptByKey(_ context.Context, keys [][2]string) (map[[2]string]bool, error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	found := map[[2]string]bool{}
	for _, key := range keys {
		if _, ok := b.f.ledgers[b.site]["pay_"+key[1]]; ok {
			found[key] = true
		}
	}
	return found, nil
}

func (b fakeBooks) booked(_ context.Context, charges []acquirer.Charge) (map[string]bool, error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	found := map[string]bool{}
	for _, c := range charges {
		if _, ok := b.f.ledgers[b.site]["pay_"+strings.TrimPrefix(c.Reference, "ch_")]; ok {
			found[c.Reference] = true
		}
	}
	return found, nil
}

// undecided is asked until the books are quiet; the recovery worker of the fake works in between.
func (b fakeBooks) undecided(ctx context.Context) (int, error) {
	b.f.mu.Lock()
	late, order := b.f.chargesLate, b.f.charged
	b.f.chargesLate = false
	b.f.mu.Unlock()
	switch {
	case late:
		_, err := b.f.charge(ctx, "ch_late", order)
		return 1, err
	case b.f.neverQuiet:
		return 1, nil
	}
	return 0, nil
}

func (b fakeBooks) planted(context.Context) (int, error) { return b.f.plantedKept, nil }

func (b fakeBooks) ledger(context.Context) (verdict.Ledger, error) {
	return verdict.Ledger{Balanced: !b.f.unbalanced, Sums: map[string]int64{"USD": 0}, Entries: 2}, nil
}

func (b fakeBooks) close() {}
