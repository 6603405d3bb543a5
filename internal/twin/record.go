package twin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"holdfast/internal/aws"
	"holdfast/internal/operator"
	"holdfast/internal/term"
	"holdfast/internal/twin/api"
)

// configName is the file in the state folder that the operator's commands read with --config.
const configName = "holdfast.json"

// healthzTimeout bounds one request for /healthz.
const healthzTimeout = 2 * time.Second

// createRecord does what an operator does after "terraform apply": "holdfast init".
func (t *Twin) createRecord(ctx context.Context) error {
	output, err := json.Marshal(t.topo.Outputs["holdfast"])
	if err != nil {
		return err
	}
	cfg, err := operator.ParseConfig(output)
	if err != nil {
		return fmt.Errorf("output holdfast: %w", err)
	}
	cfg.LeaseSeconds, cfg.MarginSeconds = t.lease.Seconds(), t.margin.Seconds()
	databases := map[string][]string{}
	for i, s := range cfg.Sites {
		s.DBEndpoint, s.DBReaderEndpoint = t.outside(s.DBEndpoint), t.outside(s.DBReaderEndpoint)
		cfg.Sites[i] = s
		databases[s.Name] = s.DSNs(t.password)
	}
	t.operator = operator.New(cfg, t.stores(cfg))
	if err := t.writeConfig(cfg); err != nil {
		return err
	}
	_, err = t.operator.Init(ctx, operator.InitOptions{Databases: databases})
	return err
}

// outside is the address of a database endpoint for callers outside the regions.
func (t *Twin) outside(dnsName string) string {
	host, _, ok := t.aurora.EndpointAddress(dnsName)
	if !ok {
		return dnsName
	}
	return host
}

// stores are the term table's replicas, reached through the twin's endpoint and with its dummy key: nothing of the
// caller's AWS configuration can leak in.
func (t *Twin) stores(cfg operator.Config) []term.Store {
	session := aws.NewSession(sdk.Config{
		BaseEndpoint: sdk.String(t.Endpoint()), Region: t.topo.Sites[0].Region,
		Credentials: credentials.NewStaticCredentialsProvider(api.AccessKeyID, api.SecretAccessKey, ""),
	})
	var stores []term.Store
	for _, region := range cfg.TermRegions {
		stores = append(stores, session.TermStore(region, cfg.TermTable, cfg.Suffix, cfg.Sites[0].Name, cfg.Sites[1].Name))
	}
	return stores
}

func (t *Twin) writeConfig(cfg operator.Config) error {
	encoded, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(t.ConfigFile(), append(encoded, '\n'), 0o600)
}

// ConfigFile is what the operator's commands take with --config: the deployment as Terraform's output "holdfast"
// shows it, with addresses for names.
func (t *Twin) ConfigFile() string { return filepath.Join(t.dir, configName) }

// Operator acts on the twin's deployment.
func (t *Twin) Operator() *operator.Operator { return t.operator }

// RequestSwitchover asks the wardens to make a site the active one and waits until it serves, as
// "holdfast switchover --to" does.
func (t *Twin) RequestSwitchover(ctx context.Context, site string) error {
	_, err := t.operator.Switchover(ctx, operator.Request{
		To: site, By: "drill", Reason: "planned switchover",
		Progress: func(text string) { t.tell(site, "operator", "%s", text) },
	})
	return err
}

// WithdrawSwitchover takes the request for a switchover to a site back, as somebody may who has thought better of it.
func (t *Twin) WithdrawSwitchover(ctx context.Context, site string) error {
	was, err := t.operator.WithdrawSwitchover(ctx, site)
	if err == nil && !was {
		err = errors.New("no switchover to " + site + " is asked for")
	}
	return err
}

// MoveDatabase begins to move the global writer to a site without losing anything, and asks no warden, as somebody does by
// hand with "aws rds switchover-global-cluster".
func (t *Twin) MoveDatabase(ctx context.Context, site string) error {
	s, err := t.site(site)
	if err != nil {
		return err
	}
	return t.aurora.Switchover(ctx, s.Region, t.topo.GlobalClusters[0].Identifier, s.DBClusterIdentifier)
}

// Active returns the site that holds the term, and whether its /healthz says that it serves.
func (t *Twin) Active(ctx context.Context) (site string, serving bool, err error) {
	r, err := t.operator.Record(ctx)
	if err != nil {
		return "", false, err
	}
	s, err := t.site(r.Holder)
	if err != nil {
		return "", false, err
	}
	return r.Holder, t.healthz(ctx, t.balancers.Address(s.LoadBalancerARN)), nil
}

// Record is the term record.
func (t *Twin) Record(ctx context.Context) (term.Record, error) { return t.operator.Record(ctx) }

// SiteAddress is the address of a site's balancer, at which clients reach it; empty for an unknown site.
func (t *Twin) SiteAddress(site string) string {
	s, err := t.site(site)
	if err != nil {
		return ""
	}
	return t.balancers.Address(s.LoadBalancerARN).String()
}

// Serves reports whether a site's /healthz says so.
func (t *Twin) Serves(ctx context.Context, site string) bool {
	s, err := t.site(site)
	return err == nil && t.healthz(ctx, t.balancers.Address(s.LoadBalancerARN))
}

// healthz asks a site's balancer whether the site serves, as Route 53 does. A site that does not answer does not serve.
func (t *Twin) healthz(ctx context.Context, balancer netip.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, healthzTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/healthz", balancer, t.AppPort()), nil)
	if err != nil {
		return false
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// TailFolders are the exports of a lost tail that wardens have completed.
func (t *Twin) TailFolders() []string {
	var folders []string
	for _, s := range t.topo.Sites {
		manifests, _ := filepath.Glob(filepath.Join(t.exportDir(s.Name), "*", "manifest.json"))
		for _, m := range manifests {
			folders = append(folders, filepath.Dir(m))
		}
	}
	return folders
}

// RestoreAddresses are those that clusters restored from a snapshot get in a region.
func (t *Twin) RestoreAddresses(region string) []netip.Addr { return t.aurora.RestoreAddresses(region) }

// DatabasePassword is the master user's password, the same at both sites.
func (t *Twin) DatabasePassword() string { return t.password }

// The TTLs of the names that AWS gives to load balancers and to Aurora's endpoints.
const balancerNameTTL, databaseNameTTL = time.Minute, 5 * time.Second

// serviceAddress resolves those names, for callers outside the regions.
func (t *Twin) serviceAddress(dnsName string) (address netip.Addr, ttl time.Duration, ok bool) {
	if ip, ok := t.balancers.AddressOf(dnsName); ok {
		return ip, balancerNameTTL, true
	}
	host, _, ok := t.aurora.EndpointAddress(dnsName)
	if !ok {
		return netip.Addr{}, 0, false
	}
	ip, err := netip.ParseAddr(host)
	return ip, databaseNameTTL, err == nil
}
