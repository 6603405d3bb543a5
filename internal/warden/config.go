package warden

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/failover"
)

// Config is what one warden is told about its site. Lease and margin are not part of it: they come from the record (P3).
type Config struct {
	Deployment     string
	Site, PeerSite string
	// Warden names the process in journals and beacons, as in "dr/10.1.2.3".
	Warden string
	// Region is the own AWS region, PeerRegion the other site's.
	Region, PeerRegion string
	TermTable          string
	// TermRegions are the regions of the term table's replicas, the own one first.
	TermRegions []string
	// GlobalCluster is the identifier of the global database, ClusterARN and PeerClusterARN its two clusters.
	GlobalCluster, ClusterARN, PeerClusterARN string
	// PeerDatabaseHost is the other site's writer endpoint, for comparing the lost tail.
	PeerDatabaseHost       string
	ECSCluster, AppService string
	AppTargetGroupARN      string
	// AppListenerARN is the listener that the clients of the application reach, ForwardTargetGroupARN the wardens' target
	// group for requests to be sent on, PeerAppURL where those go, and AppDNSName the name that the clients use. All of
	// them are empty where nothing is forwarded.
	AppListenerARN, ForwardTargetGroupARN, PeerAppURL, AppDNSName string
	Address                                                       string
	Port, ForwardPort                                             int
	ExportDir                                                     string
	Settings                                                      failover.Settings
	WriterHost, ReaderHost                                        string
	DatabasePort                                                  int
	DatabaseName, DatabaseUser                                    string
	DatabasePassword, DatabaseTLS                                 string
}

// Defaults of optional variables.
const (
	defaultPort        = 9100
	defaultForward     = 9101
	defaultForwardFor  = 5 * time.Minute
	defaultCapacityFor = 15 * time.Minute
	defaultDBPort      = 5432
	defaultMaxLag      = 5 * time.Minute
	defaultThreshold   = time.Minute
	defaultHandoff     = 5 * time.Minute
	defaultBeaconAge   = 30 * time.Second
	defaultCoolDown    = 10 * time.Minute
)

// ConfigFromEnvironment reads the variables that the warden's task definition sets. Every problem is reported, each
// with the variable, its value and the remedy; values of secrets are never shown.
func ConfigFromEnvironment(getenv func(string) string) (Config, error) {
	e := &environment{getenv: getenv}
	c := Config{
		Deployment:       e.text("HOLDFAST_DEPLOYMENT", "the deployment's environment_suffix"),
		Site:             e.text("HOLDFAST_SITE", "the name of this site, as in primary"),
		PeerSite:         e.text("HOLDFAST_PEER_SITE", "the name of the other site, as in dr"),
		Region:           e.text("AWS_REGION", "the site's AWS region"),
		TermTable:        e.text("HOLDFAST_TERM_TABLE", "the name of the term table"),
		TermRegions:      e.list("HOLDFAST_TERM_REGIONS", "the table's regions, the own one first, as in us-east-1,us-west-2"),
		GlobalCluster:    e.text("HOLDFAST_GLOBAL_CLUSTER", "the identifier of the global database"),
		ClusterARN:       e.text("HOLDFAST_DB_CLUSTER_ARN", "the ARN of the site's own database cluster"),
		PeerClusterARN:   e.text("HOLDFAST_PEER_DB_CLUSTER_ARN", "the ARN of the other site's database cluster"),
		PeerDatabaseHost: e.text("HOLDFAST_PEER_DB_HOST", "the other site's writer endpoint"),
		ECSCluster:       e.text("HOLDFAST_ECS_CLUSTER", "the name of the site's ECS cluster"),
		AppService:       e.text("HOLDFAST_APP_SERVICE", "the name of the application's ECS service"),
		Address:          getenv("HOLDFAST_TASK_ADDRESS"),
		Port:             e.port("HOLDFAST_PORT", defaultPort),
		ExportDir:        e.text("HOLDFAST_EXPORT_DIR", "a folder that outlives the task, for the rows of a lost tail"),
		WriterHost:       e.text("DB_WRITER_HOST", "the cluster's writer endpoint"),
		ReaderHost:       e.text("DB_READER_HOST", "the cluster's reader endpoint"),
		DatabasePort:     e.port("DB_PORT", defaultDBPort),
		DatabaseName:     e.text("DB_NAME", "the database's name"),
		DatabaseUser:     e.text("DB_USER", "the database role of the warden"),
		DatabasePassword: e.secret("DB_PASSWORD"),
		DatabaseTLS:      e.tls("DB_SSLMODE"),
	}
	c.ForwardPort = e.port("HOLDFAST_FORWARD_PORT", defaultForward)
	c.AppListenerARN, c.ForwardTargetGroupARN = getenv("HOLDFAST_APP_LISTENER_ARN"), getenv("HOLDFAST_FORWARD_TARGET_GROUP_ARN")
	c.PeerAppURL, c.AppDNSName = getenv("HOLDFAST_PEER_APP_URL"), getenv("HOLDFAST_APP_DNS_NAME")
	c.AppTargetGroupARN = e.text("HOLDFAST_APP_TARGET_GROUP_ARN", "the ARN of the application's target group")
	c.Settings = e.settings()
	e.relations(&c)
	c.Warden = c.Site + "/" + taskName(c.Address)
	return c, errors.Join(e.problems...)
}

// SettingsFromEnvironment reads only the policy from a task definition's variables, for those who want to know how a
// warden would decide.
func SettingsFromEnvironment(getenv func(string) string) (failover.Settings, error) {
	e := &environment{getenv: getenv}
	s := e.settings()
	return s, errors.Join(e.problems...)
}

func (e *environment) settings() failover.Settings {
	return failover.Settings{
		Mode:              e.mode("HOLDFAST_MODE"),
		MaxLag:            e.duration("HOLDFAST_MAX_LAG", defaultMaxLag),
		DatabaseThreshold: e.duration("HOLDFAST_DATABASE_THRESHOLD", defaultThreshold),
		AppThreshold:      e.duration("HOLDFAST_APP_THRESHOLD", defaultThreshold),
		BalancerThreshold: e.duration("HOLDFAST_BALANCER_THRESHOLD", defaultThreshold),
		HandoffTimeout:    e.duration("HOLDFAST_HANDOFF_TIMEOUT", defaultHandoff),
		BeaconMaxAge:      e.duration("HOLDFAST_BEACON_MAX_AGE", defaultBeaconAge),
		CoolDown:          e.duration("HOLDFAST_COOL_DOWN", defaultCoolDown),
		ForwardFor:        e.duration("HOLDFAST_FORWARD_FOR", defaultForwardFor),
		PilotTasks:        e.count("HOLDFAST_APP_MIN_TASKS"),
		PilotSet:          e.getenv("HOLDFAST_APP_MIN_TASKS") != "",
		CapacityFor:       e.duration("HOLDFAST_CAPACITY_FOR", defaultCapacityFor),
	}
}

// taskName tells the site's wardens apart: a task's address or host name is its own.
func taskName(address string) string {
	if address != "" {
		return address
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return strconv.Itoa(os.Getpid())
	}
	return host
}

// environment collects the problems of many variables, so that an operator sees all of them at once.
type environment struct {
	getenv   func(string) string
	problems []error
}

func (e *environment) problem(name, value, remedy string) {
	shown := "not set"
	if value != "" {
		shown = strconv.Quote(value)
	}
	e.problems = append(e.problems, fmt.Errorf("%s is %s: set it to %s", name, shown, remedy))
}

func (e *environment) text(name, meaning string) string {
	value := e.getenv(name)
	if value == "" {
		e.problem(name, "", meaning)
	}
	return value
}

func (e *environment) secret(name string) string {
	value := e.getenv(name)
	if value == "" {
		e.problem(name, "", "the database role's password (a secret of the task definition)")
	}
	return value
}

func (e *environment) list(name, meaning string) []string {
	var items []string
	for _, item := range strings.Split(e.getenv(name), ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		e.problem(name, e.getenv(name), meaning)
	}
	return items
}

func (e *environment) port(name string, otherwise int) int {
	value := e.getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 65535 {
		e.problem(name, value, fmt.Sprintf("a port from 1 to 65535 (default %d)", otherwise))
	}
	return n
}

func (e *environment) duration(name string, otherwise time.Duration) time.Duration {
	value := e.getenv(name)
	if value == "" {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		e.problem(name, value, fmt.Sprintf("a duration above zero, as in 90s or 5m (default %v)", otherwise))
	}
	return d
}

// count is a number of tasks, 0 if there is none.
func (e *environment) count(name string) int {
	value := e.getenv(name)
	if value == "" {
		return 0
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		e.problem(name, value, "a number of tasks, 0 or more")
	}
	return n
}

func (e *environment) mode(name string) failover.Mode {
	value := e.getenv(name)
	switch mode := failover.Mode(value); mode {
	case "":
		return failover.Automatic
	case failover.Automatic, failover.Approval, failover.Manual:
		return mode
	}
	e.problem(name, value, "automatic, approval or manual")
	return ""
}

func (e *environment) tls(name string) string {
	switch value := e.getenv(name); value {
	case "":
		return "require"
	case "disable", "require", "verify-ca", "verify-full":
		return value
	default:
		e.problem(name, value, "require, verify-ca, verify-full or disable")
		return value
	}
}

// relations checks what must hold between variables.
func (e *environment) relations(c *Config) {
	if c.Site != "" && c.Site == c.PeerSite {
		e.problem("HOLDFAST_PEER_SITE", c.PeerSite, "the other site's name; it is the same as HOLDFAST_SITE")
	}
	forwarding := map[string]string{
		"HOLDFAST_APP_LISTENER_ARN": c.AppListenerARN, "HOLDFAST_FORWARD_TARGET_GROUP_ARN": c.ForwardTargetGroupARN,
		"HOLDFAST_PEER_APP_URL": c.PeerAppURL, "HOLDFAST_APP_DNS_NAME": c.AppDNSName,
	}
	if some := slices.Collect(maps.Values(forwarding)); strings.Join(some, "") != "" {
		for _, name := range slices.Sorted(maps.Keys(forwarding)) {
			if forwarding[name] == "" {
				e.problem(name, "", "its value too: what forwards after a move needs HOLDFAST_APP_LISTENER_ARN, "+
					"HOLDFAST_FORWARD_TARGET_GROUP_ARN, HOLDFAST_PEER_APP_URL and HOLDFAST_APP_DNS_NAME together")
			}
		}
	}
	if len(c.TermRegions) > 0 && c.Region != "" && c.TermRegions[0] != c.Region {
		e.problem("HOLDFAST_TERM_REGIONS", strings.Join(c.TermRegions, ","), "a list that begins with the own region "+c.Region)
	}
	if c.ClusterARN != "" {
		if _, err := arnRegion(c.ClusterARN); err != nil {
			e.problem("HOLDFAST_DB_CLUSTER_ARN", c.ClusterARN, "a full ARN, as in arn:aws:rds:us-east-1:123456789012:cluster:name")
		}
	}
	if c.PeerClusterARN != "" {
		region, err := arnRegion(c.PeerClusterARN)
		if err != nil {
			e.problem("HOLDFAST_PEER_DB_CLUSTER_ARN", c.PeerClusterARN,
				"a full ARN, as in arn:aws:rds:us-west-2:123456789012:cluster:name")
		}
		c.PeerRegion = region
	}
}

func arnRegion(arn string) (string, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[3] == "" {
		return "", fmt.Errorf("%q is not an ARN with a region", arn)
	}
	return parts[3], nil
}

// DSN is the connection string for one of the site's database hosts, or the other site's.
func (c Config) DSN(host string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(c.DatabaseUser, c.DatabasePassword),
		Host:   hostPort(host, c.DatabasePort),
		Path:   "/" + c.DatabaseName,
	}
	q := url.Values{}
	q.Set("sslmode", c.DatabaseTLS)
	q.Set("application_name", "holdfast-warden")
	u.RawQuery = q.Encode()
	return u.String()
}

// hostPort lets a host bring its own port, which wins over the common one.
func hostPort(host string, port int) string {
	if strings.Count(host, ":") == 1 {
		return host
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}
