package twin

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/api"
	"holdfast/internal/twin/network"
)

// apiPort is where the AWS endpoints listen, the port that emulators of AWS are usually found at.
const apiPort = 4566

// Variables of a task's environment that the twin sets itself.
const (
	acquirerVariable = "PAYD_ACQUIRER_URL"
	exportVariable   = "HOLDFAST_EXPORT_DIR"
)

// environment is a container's whole environment. Names that only DNS on AWS knows are replaced by addresses of the
// task's own relays, so any program finds its database; durations of the project's own programs are divided by the speed;
// secrets get values; the AWS variables point at the region's own endpoint.
func (t *Twin) environment(svc topology.Service, c topology.Container, address netip.Addr) []string {
	t.mu.Lock()
	a := t.attached[address]
	t.mu.Unlock()
	if a == nil { // the task is ending already
		return nil
	}
	names := a.replacer()
	env := map[string]string{
		"PATH":                        "/usr/local/bin:/usr/bin:/bin",
		"AWS_ENDPOINT_URL":            a.api,
		"AWS_ACCESS_KEY_ID":           api.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":       api.SecretAccessKey,
		"AWS_REGION":                  svc.Region,
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_CONFIG_FILE":             "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	}
	for name, value := range c.Environment {
		env[name] = t.scaled(name, names.Replace(value))
	}
	for name, arn := range c.Secrets {
		if value, ok := t.secret(arn); ok {
			env[name] = value
		}
	}
	if _, ok := env[acquirerVariable]; ok && t.opts.AcquirerURL != "" {
		env[acquirerVariable] = t.acquirerURL(svc.Region)
	}
	if _, ok := env[exportVariable]; ok {
		env[exportVariable] = t.exportDir(t.siteOf(svc.Region))
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// scaled divides a duration in one of the project's own variables by the speed.
func (t *Twin) scaled(name, value string) string {
	if !strings.HasPrefix(name, "HOLDFAST_") && !strings.HasPrefix(name, "PAYD_") {
		return value
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return value
	}
	return time.Duration(float64(d) / t.opts.Speed).String()
}

// secret is a secret's value, at its own ARN or at a replica's, which differs in the region. The database's secret has
// the password of the twin's databases; any other one a value of its own, which is the same for every task.
func (t *Twin) secret(arn string) (string, bool) {
	for _, s := range t.topo.Secrets {
		for _, region := range append([]string{s.Region}, s.ReplicaRegions...) {
			replica := strings.Replace(s.ARN, ":"+s.Region+":", ":"+region+":", 1)
			switch {
			case s.ARN == "" || !strings.HasPrefix(arn, replica):
			case t.isDatabaseSecret(replica):
				return t.password, true
			default:
				sum := sha256.Sum256([]byte(t.password + s.ARN))
				return hex.EncodeToString(sum[:]), true
			}
		}
	}
	return "", false
}

// isDatabaseSecret asks the output that the operator's commands read too.
func (t *Twin) isDatabaseSecret(arn string) bool {
	output, _ := t.topo.Outputs["holdfast"].(map[string]any)
	sites, _ := output["sites"].([]any)
	return slices.ContainsFunc(sites, func(site any) bool {
		fields, _ := site.(map[string]any)
		return fields["db_secret_arn"] == arn
	})
}

// exportDir is where a site's wardens write an exported tail: a file system that outlives their tasks, as on AWS.
func (t *Twin) exportDir(site string) string { return filepath.Join(t.dir, "export", site) }

// regionURL is the AWS endpoint for callers in a region, "" for callers outside.
func (t *Twin) regionURL(region string) string {
	return "http://" + t.apiAddress(region)
}

func (t *Twin) apiAddress(region string) string {
	return network.HostPort(t.fabric.Allocate(region, "aws-api"), apiPort)
}

// Endpoint is the AWS_ENDPOINT_URL for programs outside the regions.
func (t *Twin) Endpoint() string { return t.regionURL(network.Outside) }

// Calls is the access log of the AWS endpoints: every call of the wardens, the operator's commands and the aws command.
func (t *Twin) Calls() []api.Call { return t.endpoint.Calls() }
