package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/internal/operator"
	"holdfast/internal/twin"
	"holdfast/internal/twin/api"
)

// A twin's shell folder, beside its run file, has what a shell needs so that the commands of a runbook mean the twin:
// commands in bin, the databases' password, the Terraform outputs. Only this user may enter it.
const (
	shellBin       = "bin"
	passwordFile   = "pgpass"
	outputsFile    = "outputs.json"
	psqlSSLMode    = "require"
	nameVariable   = "HOLDFAST_TWIN"
	configVariable = "HOLDFAST_CONFIG"
	dnsVariable    = "HOLDFAST_DNS_SERVER"
	// acquirerVariable is payd's own, for what asks the acquirer as payd does.
	acquirerVariable = "PAYD_ACQUIRER_URL"
)

// leakingVariables could lead a client to another account or to another endpoint than the twin's.
var leakingVariables = []string{
	"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION",
	"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
	"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
}

// serviceEndpoint begins the variables that lead one service elsewhere than AWS_ENDPOINT_URL.
const serviceEndpoint = "AWS_ENDPOINT_URL_"

// exports are the variables that make AWS clients and holdfast talk to the twin, and to nothing else.
func (i runInfo) exports() [][2]string {
	host, _, _ := net.SplitHostPort(strings.TrimPrefix(i.Endpoint, "http://"))
	return [][2]string{
		{"AWS_ENDPOINT_URL", i.Endpoint},
		{"AWS_ACCESS_KEY_ID", api.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", api.SecretAccessKey},
		{"AWS_REGION", i.Region},
		{"AWS_DEFAULT_REGION", i.Region}, // what version 1 of the aws command reads
		{"AWS_CONFIG_FILE", os.DevNull},  // a profile may name a role, a process or an endpoint of its own
		{"AWS_SHARED_CREDENTIALS_FILE", os.DevNull},
		{"AWS_EC2_METADATA_DISABLED", "true"},
		{"AWS_PAGER", ""},
		{"NO_PROXY", host},
		{"no_proxy", host},
		{configVariable, i.Config},
		{dnsVariable, i.Resolver},
		{acquirerVariable, i.Acquirer},
		{nameVariable, i.Name},
	}
}

// writeEnv prints the lines that point a shell at the twin.
func (i runInfo) writeEnv(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# From here on aws, dig, psql, 'terraform output' and holdfast mean the twin %s.\n", i.Name)
	fmt.Fprintf(&b, "unset %s\n", strings.Join(leakingVariables, " "))
	fmt.Fprintf(&b, "for v in $(env | sed -n 's/^\\(%s[A-Z0-9_]*\\)=.*/\\1/p'); do unset \"$v\"; done\n", serviceEndpoint)
	for _, export := range i.exports() {
		fmt.Fprintf(&b, "export %s=%s\n", export[0], shellQuote(export[1]))
	}
	folder, err := shellPath(i.Name)
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "export PGPASSFILE=%s PGSSLMODE=%s\n", shellQuote(filepath.Join(folder, passwordFile)), psqlSSLMode)
	fmt.Fprintf(&b, "export PATH=%s:\"$PATH\"\n", shellQuote(filepath.Join(folder, shellBin)))
	b.WriteString("unalias aws dig psql terraform holdfast 2>/dev/null || true; unset -f aws dig psql terraform holdfast; hash -r\n")
	_, err = io.WriteString(w, b.String())
	return err
}

// shellQuote makes one word of a text for a POSIX shell.
func shellQuote(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// shellPath is the shell folder of a twin's name.
func shellPath(name string) (string, error) {
	path, err := runPath(name)
	return strings.TrimSuffix(path, ".json") + ".shell", err
}

// writeShell makes the shell folder of a twin that is up.
func (i runInfo) writeShell(t *twin.Twin) error {
	folder, err := shellPath(i.Name)
	if err != nil {
		return err
	}
	self, err := executable()
	if err != nil {
		return err
	}
	outputs, err := json.MarshalIndent(t.Topology().Outputs, "", "  ")
	if err != nil {
		return err
	}
	config, err := operator.ReadConfig(i.Config)
	if err != nil {
		return err
	}
	files := map[string]string{
		outputsFile:  string(outputs) + "\n",
		passwordFile: passwordLines(config, t.DatabasePassword(), t.RestoreAddresses),
	}
	names, err := endpointNames(t, config)
	if err != nil {
		return err
	}
	for name, script := range i.shims(folder, self, names) {
		files[filepath.Join(shellBin, name)] = script
	}
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(filepath.Join(folder, shellBin), 0o700)); err != nil {
		return fmt.Errorf("%w: make the shell folder: %w", operator.ErrEnvironment, err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode := fs.FileMode(0o600)
		if filepath.Dir(name) == shellBin {
			mode = 0o700
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(files[name]), mode); err != nil {
			return fmt.Errorf("%w: write the shell folder: %w", operator.ErrEnvironment, err)
		}
	}
	return nil
}

// endpointNames maps the databases' endpoints, as AWS and Terraform name them, to where they are.
func endpointNames(t *twin.Twin, config operator.Config) ([][2]string, error) {
	output, err := json.Marshal(t.Topology().Outputs["holdfast"])
	if err != nil {
		return nil, err
	}
	named, err := operator.ParseConfig(output)
	if err != nil {
		return nil, err
	}
	var names [][2]string
	for i, s := range named.Sites {
		at := config.Sites[i]
		names = append(names, [2]string{s.DBEndpoint, at.DBEndpoint}, [2]string{s.DBReaderEndpoint, at.DBReaderEndpoint})
	}
	return names, nil
}

// shims are the commands that shadow those of the machine. A function or an alias would do in the shell itself, but not
// behind timeout, xargs or in a script.
func (i runInfo) shims(folder, self string, endpoints [][2]string) map[string]string {
	resolver, err := netip.ParseAddrPort(i.Resolver)
	host, port := i.Resolver, "53"
	if err == nil {
		host, port = resolver.Addr().String(), strconv.Itoa(int(resolver.Port()))
	}
	own := shellQuote(filepath.Join(folder, shellBin))
	holdfast := shellQuote(self)
	head := "#!/bin/sh\n" +
		"# Made by 'holdfast twin up'. Takes this folder from PATH, so that the machine's own command is found.\n" +
		"rest=; set -f; IFS=:\n" +
		"for dir in $PATH; do [ \"$dir\" = " + own + " ] || rest=${rest:+$rest:}$dir; done\n" +
		"unset IFS; PATH=$rest\n"
	// The endpoints' names mean nothing outside the twin. An argument may be a name, or a connection string with one.
	psql := head + "for arg in \"$@\"; do\n\tshift\n\tcase $arg in\n"
	for _, e := range endpoints {
		name := shellQuote(e[0])
		psql += "\t*" + name + "*) arg=${arg%%" + name + "*}" + e[1] + "${arg#*" + name + "} ;;\n"
	}
	psql += "\tesac\n\tset -- \"$@\" \"$arg\"\ndone\nexec psql \"$@\"\n"
	return map[string]string{
		"psql": psql,
		// Version 1 of the aws command ignores AWS_ENDPOINT_URL for rds in us-east-1, and an option may lead anywhere:
		// what goes to another host than the twin's goes over HTTPS, and for that the twin is the proxy, which refuses.
		"aws": head + "unset HTTP_PROXY http_proxy ALL_PROXY all_proxy\n" +
			"export HTTPS_PROXY=" + shellQuote(i.Endpoint) + " https_proxy=" + shellQuote(i.Endpoint) + "\n" +
			"exec aws --endpoint-url " + shellQuote(i.Endpoint) + " \"$@\"\n",
		"dig": head + "if command -v dig >/dev/null; then exec dig @" + host + " -p " + port + " \"$@\"; fi\n" +
			"exec " + holdfast + " twin resolve --name " + i.Name + " -- \"$@\"\n",
		"terraform": head + "[ \"$1\" = output ] || exec terraform \"$@\"\n" +
			"shift; exec " + holdfast + " twin output --name " + i.Name + " -- \"$@\"\n",
		"holdfast": "#!/bin/sh\nexec " + holdfast + " \"$@\"\n",
	}
}

// passwordLines are what psql reads as PGPASSFILE, for the endpoints and for what may be restored beside them.
func passwordLines(config operator.Config, password string, restored func(region string) []netip.Addr) string {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, ":", `\:`)
	for _, s := range config.Sites {
		hosts := []string{s.DBEndpoint, s.DBReaderEndpoint}
		for _, address := range restored(s.Region) {
			hosts = append(hosts, address.String())
		}
		for _, host := range hosts {
			fmt.Fprintf(&b, "%s:%d:*:%s:%s\n", escape.Replace(host), s.DBPort, escape.Replace(s.DBUser), escape.Replace(password))
		}
	}
	return b.String()
}

// psqlLines say how to reach each site's endpoints with psql, without the password.
func psqlLines(config operator.Config) []string {
	var lines []string
	for _, s := range config.Sites {
		for _, e := range [][2]string{{"writer", s.DBEndpoint}, {"reader", s.DBReaderEndpoint}} {
			lines = append(lines, fmt.Sprintf("%-8s %-7s psql -h %s -p %d -U %s %s", s.Name, e[0], e[1], s.DBPort, s.DBUser, s.DBName))
		}
	}
	return lines
}

func newTwinEnvCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "env",
		Short: `Print what points a shell at the twin: eval "$(holdfast twin env)"`,
		Long: `Print shell lines that point AWS clients, aws, dig, psql, 'terraform output' and holdfast at the twin, and keep them from
reaching any real account. Use it as: eval "$(holdfast twin env)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, err := readRun(name)
			if err != nil {
				return err
			}
			return info.writeEnv(cmd.OutOrStdout())
		},
	}
	registerName(cmd, &name)
	return cmd
}
