package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Status is what one look at a deployment shows. Each part is asked for itself, so a lost region leaves the rest
// readable; an error field says what did not answer.
type Status struct {
	Deployment string       `json:"deployment"`
	At         time.Time    `json:"at"`
	Record     *term.Record `json:"record,omitempty"`
	// RecordError says why there is no record to show.
	RecordError string `json:"record_error,omitempty"`
	// Active is the site that serves, empty if none does for sure.
	Active string `json:"active,omitempty"`
	// LeaseRunning says that the record was renewed during the look; how much trust its wardens have left is known to
	// them alone.
	LeaseRunning bool         `json:"lease_running"`
	BeaconsError string       `json:"beacons_error,omitempty"`
	DNS          DNSStatus    `json:"dns"`
	Sites        []SiteStatus `json:"sites"`
	// LastDrill is the newest verdict in the folder that was asked for, absent if there is none.
	LastDrill *LastDrill `json:"last_drill,omitempty"`
}

// DNSStatus is what the deployment's name resolves to.
type DNSStatus struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses,omitempty"`
	// Site is the site whose load balancer has these addresses, if it could be told.
	Site  string `json:"site,omitempty"`
	Error string `json:"error,omitempty"`
}

// SiteStatus is one site.
type SiteStatus struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	// Role is "active", "standby", "silent" for a holder that did not renew during the look, or what the record's state makes
	// of the site.
	Role   string       `json:"role"`
	Beacon *term.Beacon `json:"beacon,omitempty"`
	// LagMS bounds from above what the site's database lacks, in milliseconds; absent if unknown.
	LagMS *int64 `json:"lag_ms,omitempty"`
	// Writer is the ARN of the cluster that the region's control plane calls the global writer.
	Writer         string `json:"writer,omitempty"`
	DatabaseStatus string `json:"database_status,omitempty"`
	DesiredTasks   int    `json:"desired_tasks"`
	RunningTasks   int    `json:"running_tasks"`
	// MinimumTasks and MaximumTasks bound the application's autoscaling, 0 if it is not scaled.
	MinimumTasks   int `json:"minimum_tasks"`
	MaximumTasks   int `json:"maximum_tasks"`
	HealthyTargets int `json:"healthy_targets"`
	RunningWardens int `json:"running_wardens"`
	WardenTargets  int `json:"warden_targets"`
	// TrustLeftMS is the trust that the reporting warden had left when it wrote its beacon, in milliseconds; absent if that
	// was too long ago to say anything.
	TrustLeftMS int64 `json:"trust_left_ms,omitempty"`
	// SilentForMS is how old the beacon is, by this machine's clock, in milliseconds, if it is too old to speak for the site
	// now; else absent.
	SilentForMS int64 `json:"silent_for_ms,omitempty"`
	// Gates are what would keep the site from taking the term over now, by the wardens' own rules on what both sites say.
	Gates           []failover.Refusal `json:"gates,omitempty"`
	Errors          []string           `json:"errors,omitempty"`
	isGlobalWriter  bool
	controlAnswered bool
}

// ErrNotServing: no site serves.
var ErrNotServing = errors.New("no site serves")

// Status looks at everything at once.
func (o *Operator) Status(ctx context.Context) Status {
	s := Status{Deployment: o.cfg.Suffix, At: time.Now().UTC(), DNS: DNSStatus{Name: o.cfg.DNSName}}
	s.Sites = make([]SiteStatus, len(o.cfg.Sites))
	var (
		wg      sync.WaitGroup
		beacons map[string]term.Beacon
	)
	wg.Go(func() { o.statusRecord(ctx, &s) })
	wg.Go(func() {
		var err error
		if beacons, err = o.Beacons(ctx); err != nil {
			s.BeaconsError = err.Error()
		}
	})
	wg.Go(func() { s.DNS = o.statusDNS(ctx) })
	for i, site := range o.cfg.Sites {
		wg.Go(func() { s.Sites[i] = o.statusSite(ctx, site) })
	}
	wg.Wait()
	for i := range s.Sites {
		site := &s.Sites[i]
		site.Role = role(s, site.Name)
		if b, ok := beacons[site.Name]; ok {
			site.Beacon, site.SilentForMS = &b, silence(s, b).Milliseconds()
			if site.SilentForMS == 0 {
				site.TrustLeftMS = b.TrustLeftMS
			}
			if s.Record != nil && s.Record.Holder != site.Name {
				if d, known := lag(*s.Record, b); known {
					ms := d.Milliseconds()
					site.LagMS = &ms
				}
			}
		}
		if site.Role == "active" {
			s.Active = site.Name
		}
	}
	for i := range s.Sites {
		if site := &s.Sites[i]; s.Record != nil && s.Record.Holder != site.Name && site.Beacon != nil {
			site.Gates = failover.Gates(o.observed(s, site.Name))
		}
	}
	return s
}

// statusRecord shows the record, and whether its holder is alive.
func (o *Operator) statusRecord(ctx context.Context, s *Status) {
	r, alive, err := o.watched(ctx)
	if err != nil {
		s.RecordError = err.Error()
		return
	}
	s.Record, s.LeaseRunning = &r, alive
}

// watched reads the record until it moves, for two renewal periods at most: if it moved, its holder is alive.
func (o *Operator) watched(ctx context.Context) (r term.Record, alive bool, err error) {
	first, err := o.Record(ctx)
	if err != nil {
		return first, false, err
	}
	r = first
	deadline := time.NewTimer(2 * first.RenewEvery())
	defer deadline.Stop()
	tick := time.NewTicker(max(first.RenewEvery()/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return r, false, nil
		case <-deadline.C:
			return r, false, nil
		case <-tick.C:
		}
		again, err := o.Record(ctx)
		if err != nil {
			continue
		}
		r = again
		if again.Term != first.Term || again.Renewal != first.Renewal {
			return r, true, nil
		}
	}
}

func role(s Status, site string) string {
	r := s.Record
	switch {
	case r == nil:
		return "unknown"
	case r.Holder == site && r.State == term.Held && !s.LeaseRunning:
		return "silent"
	case r.Holder == site && r.State == term.Held && r.ServedTerm == r.Term:
		return "active"
	case r.Holder == site && r.State == term.Held:
		return "taking over"
	case r.Holder == site:
		return string(r.State)
	case r.GrantedTo == site:
		return "granted"
	}
	return "standby"
}

func (o *Operator) statusDNS(ctx context.Context) DNSStatus {
	d := DNSStatus{Name: o.cfg.DNSName}
	if o.lookup == nil {
		d.Error = "not asked"
		return d
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	addresses, err := o.lookup(ctx, o.cfg.DNSName)
	if err != nil {
		d.Error = err.Error()
		return d
	}
	slices.Sort(addresses)
	d.Addresses = addresses
	for _, site := range o.cfg.Sites {
		balancer, err := o.lookup(ctx, site.LoadBalancerDNSName)
		if err == nil && slices.ContainsFunc(balancer, func(a string) bool { return slices.Contains(addresses, a) }) {
			d.Site = site.Name
		}
	}
	return d
}

func (o *Operator) statusSite(ctx context.Context, site Site) SiteStatus {
	s := SiteStatus{Name: site.Name, Region: site.Region}
	if o.cloud == nil {
		s.Errors = []string{"the region was not asked"}
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	ask := func(do func() (func(), error)) {
		wg.Go(func() {
			set, err := do()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Errors = append(s.Errors, err.Error())
				return
			}
			set()
		})
	}
	ask(func() (func(), error) {
		g, err := o.cloud.globalCluster(ctx, site)
		return func() {
			s.Writer, s.DatabaseStatus, s.controlAnswered = g.Writer(), g.Status, true
			s.isGlobalWriter = g.Writer() == site.DBClusterARN
		}, err
	})
	ask(func() (func(), error) {
		v, err := o.cloud.service(ctx, site, site.AppService)
		return func() { s.DesiredTasks, s.RunningTasks = v.Desired, v.Running }, err
	})
	ask(func() (func(), error) {
		minimum, maximum, err := o.cloud.bounds(ctx, site)
		return func() { s.MinimumTasks, s.MaximumTasks = minimum, maximum }, err
	})
	ask(func() (func(), error) {
		v, err := o.cloud.service(ctx, site, site.WardenService)
		return func() { s.RunningWardens = v.Running }, err
	})
	ask(func() (func(), error) {
		v, err := o.cloud.targets(ctx, site, site.AppTargetGroupARN)
		return func() { s.HealthyTargets = aws.Healthy(v) }, err
	})
	ask(func() (func(), error) {
		v, err := o.cloud.targets(ctx, site, site.WardenTargetGroupARN)
		return func() { s.WardenTargets = aws.Healthy(v) }, err
	})
	wg.Wait()
	slices.Sort(s.Errors)
	return s
}

// WriteText prints the status for people.
func (s Status) WriteText(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "deployment %s at %s\n", s.Deployment, s.At.Format(time.RFC3339))
	switch r := s.Record; {
	case r == nil:
		fmt.Fprintf(&b, "record     none: %s\n", s.RecordError)
	default:
		since := "the beginning"
		if !r.MovedAt.IsZero() {
			since = r.MovedAt.Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "term       %d, %s by %s since %s, served term %d, renewal %d\n",
			r.Term, r.State, r.Holder, since, r.ServedTerm, r.Renewal)
		running := "it was not renewed while this command watched"
		if s.LeaseRunning {
			running = "it was renewed while this command watched"
		}
		fmt.Fprintf(&b, "lease      %v, margin %v; %s\n", r.Lease(), r.Margin(), running)
		for _, n := range r.TailOf {
			fmt.Fprintf(&b, "tail       the end of term %d may be missing, and has not been exported: restore the snapshot that the service "+
				"kept, then 'holdfast reconcile export --saved'; after a switchover of the service's own, which loses nothing, "+
				"'holdfast tail --saved-of %d'\n", n, n)
		}
		if r.Wanted != nil {
			fmt.Fprintf(&b, "wanted     %s, by %s at %s: %s\n",
				r.Wanted.Site, r.Wanted.By, r.Wanted.At.Format(time.RFC3339), r.Wanted.Reason)
		}
	}
	switch d := s.DNS; {
	case d.Error != "":
		fmt.Fprintf(&b, "dns        %s: %s\n", d.Name, d.Error)
	case d.Site != "":
		fmt.Fprintf(&b, "dns        %s is %s, the balancer of %s\n", d.Name, strings.Join(d.Addresses, " "), d.Site)
	default:
		fmt.Fprintf(&b, "dns        %s is %s\n", d.Name, strings.Join(d.Addresses, " "))
	}
	if s.BeaconsError != "" {
		fmt.Fprintf(&b, "beacons    unknown: %s\n", s.BeaconsError)
	}
	if d := s.LastDrill; d != nil {
		fmt.Fprintf(&b, "drill      %s\n", d)
	}
	b.WriteString("\n")
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	return s.writeSites(out)
}

func (s Status) writeSites(out io.Writer) error {
	tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "SITE\tREGION\tROLE\tREADY\tDATABASE\tLAG\tTRUST\tTASKS\tBOUNDS\tTARGETS\tWARDENS")
	for _, site := range s.Sites {
		ready, lagText, database := "unknown", "unknown", "unknown"
		switch b := site.Beacon; {
		case b == nil:
		case site.SilentForMS > 0:
			ready = "silent " + silentText(site)
		case b.Ready:
			ready = "yes"
		default:
			ready = "no"
		}
		if site.LagMS != nil {
			lagText = (time.Duration(*site.LagMS) * time.Millisecond).String()
		} else if s.Record != nil && s.Record.Holder == site.Name {
			lagText = "-"
		}
		if site.controlAnswered {
			database = "secondary"
			if site.isGlobalWriter {
				database = "writer"
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d/%d\t%d-%d\t%d\t%d\n", site.Name, site.Region, site.Role, ready, database, lagText,
			trustText(site), site.RunningTasks, site.DesiredTasks, site.MinimumTasks, site.MaximumTasks, site.HealthyTargets, site.RunningWardens)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, site := range s.Sites {
		switch b := site.Beacon; {
		case site.SilentForMS > 0 && !b.Ready:
			fmt.Fprintf(out, "%s is silent: its wardens reported last %s ago, that it was not ready: %s\n", site.Name, silentText(site), b.NotReadyBecause)
		case site.SilentForMS > 0:
			fmt.Fprintf(out, "%s is silent: its wardens reported last %s ago\n", site.Name, silentText(site))
		case b != nil && !b.Ready && b.NotReadyBecause != "":
			fmt.Fprintf(out, "%s is not ready: %s\n", site.Name, b.NotReadyBecause)
		}
		for _, g := range site.Gates {
			fmt.Fprintf(out, "%s could not take over, %s\n", site.Name, g)
		}
		if b := site.Beacon; b != nil && site.SilentForMS == 0 {
			for _, gate := range b.WaitsFor {
				fmt.Fprintf(out, "%s waits, %s\n", site.Name, gate)
			}
		}
		if b := site.Beacon; b != nil && b.Pin != nil && !b.Pin.Ended {
			fmt.Fprintf(out, "%s has a pin of %s in its database, for term %d, until %s at most\n", site.Name, b.Pin.Site, b.Pin.Term, b.Pin.Until.UTC().Format(time.RFC3339))
		}
		for _, e := range site.Errors {
			fmt.Fprintf(out, "%s: %s\n", site.Name, e)
		}
	}
	return nil
}

func silentText(site SiteStatus) string {
	return (time.Duration(site.SilentForMS) * time.Millisecond).Round(time.Second).String()
}

func trustText(site SiteStatus) string {
	switch {
	case site.SilentForMS > 0:
		return "silent"
	case site.TrustLeftMS == 0:
		return "-"
	}
	return (time.Duration(site.TrustLeftMS) * time.Millisecond).String()
}
