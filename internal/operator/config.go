package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"
)

// ErrUsage: the command was called in a way that can't work: a wrong name, a missing or broken configuration.
var ErrUsage = errors.New("usage")

// Config is the Terraform output "holdfast": the whole deployment in one object.
type Config struct {
	Suffix        string  `json:"suffix"`
	DNSName       string  `json:"dns_name"`
	AccountID     string  `json:"account_id"`
	TermTable     string  `json:"term_table"`
	WitnessRegion string  `json:"witness_region"`
	GlobalCluster string  `json:"global_cluster"`
	LeaseSeconds  float64 `json:"lease_seconds"`
	MarginSeconds float64 `json:"margin_seconds"`
	// TermRegions are the regions of the term table's replicas.
	TermRegions []string `json:"term_regions"`
	// Sites are the two sites, the one that is active on the first day first.
	Sites []Site `json:"sites"`
}

// Site is one site of a [Config].
type Site struct {
	Name                 string `json:"name"`
	Region               string `json:"region"`
	DBClusterIdentifier  string `json:"db_cluster_identifier"`
	DBClusterARN         string `json:"db_cluster_arn"`
	DBEndpoint           string `json:"db_endpoint"`
	DBReaderEndpoint     string `json:"db_reader_endpoint"`
	DBPort               int    `json:"db_port"`
	DBName               string `json:"db_name"`
	DBUser               string `json:"db_user"`
	DBSecretARN          string `json:"db_secret_arn"`
	ECSClusterName       string `json:"ecs_cluster_name"`
	AppService           string `json:"app_service"`
	WardenService        string `json:"warden_service"`
	LoadBalancerARN      string `json:"load_balancer_arn"`
	LoadBalancerDNSName  string `json:"load_balancer_dns_name"`
	AppTargetGroupARN    string `json:"app_target_group_arn"`
	WardenTargetGroupARN string `json:"warden_target_group_arn"`
}

// configLimit bounds a configuration file, in bytes; a real one has a few thousand.
const configLimit = 1 << 20

// ReadConfig reads the output of "terraform output -json holdfast" from a file, or that of "terraform output -json".
func ReadConfig(path string) (Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Config{}, fmt.Errorf("%w: read the deployment: %w (write it with 'terraform output -json holdfast > %s')",
			ErrUsage, err, path)
	}
	if info.Size() > configLimit {
		return Config{}, fmt.Errorf("%w: read the deployment from %s: %d bytes, want at most %d: "+
			"this is not the output of 'terraform output -json holdfast'", ErrUsage, path, info.Size(), configLimit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("%w: read the deployment: %w", ErrUsage, err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("%w: read the deployment from %s: %w", ErrUsage, path, err)
	}
	return c, nil
}

// ParseConfig reads the output object, bare or within all outputs, and checks that nothing the commands need is
// missing.
func ParseConfig(data []byte) (Config, error) {
	var all struct {
		Holdfast *struct {
			Value json.RawMessage `json:"value"`
		} `json:"holdfast"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return Config{}, fmt.Errorf("it is not valid JSON: %w (write it with 'terraform output -json holdfast')", err)
	}
	switch {
	case all.Holdfast != nil:
		data = all.Holdfast.Value
	case len(all.Value) > 0 && !bytes.Equal(all.Value, []byte("null")):
		data = all.Value
	}
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return Config{}, fmt.Errorf("the output \"holdfast\" has another form than this program knows: %w", err)
	}
	return c, c.validate()
}

func (c Config) validate() error {
	var errs []error
	need := func(ok bool, field string) {
		if !ok {
			errs = append(errs, fmt.Errorf("field %s is missing or empty", field))
		}
	}
	need(c.Suffix != "", "suffix")
	need(c.TermTable != "", "term_table")
	need(len(c.TermRegions) > 0, "term_regions")
	need(c.GlobalCluster != "", "global_cluster")
	need(c.LeaseSeconds > 0, "lease_seconds")
	need(c.MarginSeconds > 0, "margin_seconds")
	if len(c.Sites) != 2 {
		errs = append(errs, fmt.Errorf("field sites has %d entries, want 2", len(c.Sites)))
	}
	for i, s := range c.Sites {
		need(s.Name != "", fmt.Sprintf("sites[%d].name", i))
		need(s.Region != "", fmt.Sprintf("sites[%d].region", i))
		need(s.DBClusterARN != "", fmt.Sprintf("sites[%d].db_cluster_arn", i))
	}
	if len(c.Sites) == 2 && c.Sites[0].Name == c.Sites[1].Name {
		errs = append(errs, fmt.Errorf("both sites are named %q", c.Sites[0].Name))
	}
	return errors.Join(errs...)
}

// Lease and Margin are the deployment's, for a new record.
func (c Config) Lease() time.Duration { return time.Duration(c.LeaseSeconds * float64(time.Second)) }

// Margin is the safety margin for a new record.
func (c Config) Margin() time.Duration { return time.Duration(c.MarginSeconds * float64(time.Second)) }

// DSNs are the connection strings of the site's writer and reader endpoints, in this order.
func (s Site) DSNs(password string) []string {
	var dsns []string
	for _, host := range []string{s.DBEndpoint, s.DBReaderEndpoint} {
		if host == "" {
			continue
		}
		u := url.URL{
			Scheme: "postgres", User: url.UserPassword(s.DBUser, password),
			Host: host + ":" + strconv.Itoa(s.DBPort), Path: "/" + s.DBName,
			RawQuery: "sslmode=require&application_name=holdfast&connect_timeout=5",
		}
		dsns = append(dsns, u.String())
	}
	return dsns
}
