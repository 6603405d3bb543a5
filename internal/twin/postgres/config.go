package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The users that RDS has on every server beside the master user.
const (
	adminUser       = "rdsadmin"
	replicationUser = "rdsrepladmin"
)

type secrets struct{ admin, replication string }

// settings are the twin's own; a parameter group cannot change them.
func (a *Aurora) settings() map[string]string {
	return map[string]string{
		"wal_level": "replica", "hot_standby": "on", "max_wal_senders": "20", "max_connections": "300",
		"max_prepared_transactions": "0", "max_worker_processes": "8", "max_locks_per_transaction": "64",
		"track_commit_timestamp": "on", "wal_log_hints": "off", "synchronous_commit": "on", "synchronous_standby_names": "",
		"wal_retrieve_retry_interval": headRetry, "recovery_target_timeline": "latest", "hot_standby_feedback": "off",
		"wal_receiver_timeout": "10s", "wal_sender_timeout": "10s", "wal_receiver_status_interval": "1s",
		// A Region may be away for minutes under load; beyond this its volume is rebuilt (see tend).
		"wal_keep_size": "512MB", "max_wal_size": "1GB", "min_wal_size": "80MB",
		// A query on a reader must not hold up the replay for long.
		"max_standby_streaming_delay": "2s",
		"shared_buffers":              "32MB", "huge_pages": "off", "jit": "off", "fsync": "off", "full_page_writes": "on",
		"dynamic_shared_memory_type": "mmap", "shared_memory_type": "mmap",
		"ssl": "on", "ssl_cert_file": a.certFile(), "ssl_key_file": a.keyFile(), "password_encryption": "scram-sha-256",
		"logging_collector": "off", "log_destination": "stderr", "log_line_prefix": "%m [%p] %q%u@%d ", "log_checkpoints": "off",
		"log_timezone": "UTC", "unix_socket_directories": "", "restart_after_crash": "on", "data_sync_retry": "on",
	}
}

// How often a standby that has lost its upstream looks for it again. A head may be waited for by a whole site; a reader waits
// for its own cluster's head, and each attempt takes processor time from that one's restart.
const (
	headRetry   = "100ms"
	readerRetry = "1s"
)

// owned are parameters that belong to the twin although it passes no setting of its own.
var owned = []string{
	"listen_addresses", "port", "data_directory", "hba_file", "ident_file", "config_file", "external_pid_file", "primary_conninfo",
	"primary_slot_name", "restore_command", "archive_mode", "archive_command", "archive_library", "recovery_target",
	"unix_socket_group", "unix_socket_permissions", "log_directory", "log_filename", "event_source", "cluster_name",
	"recovery_min_apply_delay",
	// Libraries of Aurora that a PostgreSQL on this machine need not have: a missing one keeps the server from starting.
	"shared_preload_libraries", "session_preload_libraries", "local_preload_libraries", "dynamic_library_path",
}

// chooseParameters decides which parameters of the parameter groups PostgreSQL gets: those that it knows, that are not
// the twin's own, and that it starts with. The rest is listed as ignored.
func (a *Aurora) chooseParameters(ctx context.Context, volume string, clusters []*cluster) error {
	out, err := a.opt.Installation.Output(ctx, a.opt.Dir, "postgres", "--describe-config")
	if err != nil {
		return fmt.Errorf("list PostgreSQL's parameters: %w", err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(line, "\t")
		known[strings.ToLower(name)] = true
	}
	own := a.settings()
	for _, c := range clusters {
		parameters := map[string]string{}
		var ignored []string
		for _, name := range slices.Sorted(maps.Keys(c.spec.Parameters)) {
			value := c.spec.Parameters[name]
			_, ours := own[name]
			if !known[name] || ours || slices.Contains(owned, name) || !a.accepts(ctx, volume, name, value) {
				ignored = append(ignored, name)
				continue
			}
			parameters[name] = value
		}
		a.set(func() { c.parameters, c.ignored = parameters, ignored })
	}
	return nil
}

// accepts asks PostgreSQL whether it takes a value.
func (a *Aurora) accepts(ctx context.Context, volume, name, value string) bool {
	return a.opt.Installation.Run(ctx, volume, "postgres", "-D", volume, "-C", name, "-c", name+"="+value) == nil
}

// writeAccess writes who may connect to a volume's server: everybody on this machine with a password over TLS.
func (a *Aurora) writeAccess(volume string) error {
	rules := "hostssl all all 127.0.0.0/8 scram-sha-256\nhostssl replication " + replicationUser + " 127.0.0.0/8 scram-sha-256\n"
	return a.opt.Installation.WriteFile(filepath.Join(volume, "pg_hba.conf"), rules)
}

// upstream is the connection string of the server that an instance streams from, empty for a primary. The caller holds
// the lock.
func (a *Aurora) upstream(in *instance) string {
	c := in.cluster
	if in != c.head {
		return a.replicationInfo(c.head.host, c.head.port, in.spec.Identifier)
	}
	if w := c.source(); w != nil {
		link := c.links[w.spec.Identifier]
		return a.replicationInfo(link.Addr().String(), int(link.Port()), in.spec.Identifier)
	}
	return ""
}

func (a *Aurora) replicationInfo(host string, port int, name string) string {
	return fmt.Sprintf("host=%s port=%d user=%s passfile=%s application_name=%s sslmode=require connect_timeout=3 keepalives=0",
		host, port, replicationUser, quoteValue(a.passFile()), quoteValue(name))
}

// quoteValue quotes a value of a libpq connection string.
func quoteValue(v string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}

// quoteSetting quotes a value of a PostgreSQL configuration file.
func quoteSetting(v string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(v) + "'"
}

// writeRole tells a volume whether it is a standby, and of whom. It uses the file that ALTER SYSTEM writes, because that
// one is read last and comes with every base backup.
func (a *Aurora) writeRole(volume, conninfo string) error {
	in := a.opt.Installation
	setting := "primary_conninfo = " + quoteSetting(conninfo) + "\n"
	if err := in.WriteFile(filepath.Join(volume, "postgresql.auto.conf"), setting); err != nil {
		return err
	}
	signal := filepath.Join(volume, "standby.signal")
	if conninfo == "" {
		return removeIfThere(signal)
	}
	return in.WriteFile(signal, "")
}

func (a *Aurora) certFile() string { return filepath.Join(a.opt.Dir, "tls", "server.crt") }
func (a *Aurora) keyFile() string  { return filepath.Join(a.opt.Dir, "tls", "server.key") }
func (a *Aurora) passFile() string { return filepath.Join(a.opt.Dir, "tls", "replication.pgpass") }

// writeSecrets makes the self-signed certificate of all servers and the replication user's password file.
func (a *Aurora) writeSecrets() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a TLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return fmt.Errorf("make a serial number: %w", err)
	}
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Holdfast twin"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	for _, c := range a.clusters {
		template.DNSNames = append(template.DNSNames, c.spec.Endpoint, c.spec.ReaderEndpoint)
		for _, address := range []string{c.writerEndpoint.Addr().String(), c.readerEndpoint.Addr().String()} {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
		}
		for _, in := range c.instances {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(in.host))
		}
	}
	template.DNSNames = slices.DeleteFunc(template.DNSNames, func(name string) bool { return name == "" })
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("make a TLS certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the TLS key: %w", err)
	}
	files := map[string]string{
		a.certFile(): string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		a.keyFile():  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		a.passFile(): "*:*:*:" + replicationUser + ":" + a.secrets.replication + "\n",
	}
	for path, content := range files {
		if err := a.opt.Installation.WriteFile(path, content); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}
