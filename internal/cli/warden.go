package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"holdfast/internal/aws"
	"holdfast/internal/evidence"
	"holdfast/internal/operator"
	"holdfast/internal/reconcile"
	"holdfast/internal/term"
	"holdfast/internal/warden"
)

// exportDial bounds connecting to each of the two databases that an export compares.
const exportDial = 15 * time.Second

// NewWardenCommand runs one warden until it is told to stop.
func NewWardenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "warden",
		Short: "Hold and watch this site's lease, fence its database, and take over when the other site is gone",
		Long: `Run one warden of a site. At least two run per site, as tasks of an ECS service.

The configuration comes from the variables that the Terraform writes into the task definition (HOLDFAST_*, DB_*,
AWS_REGION); AWS_ENDPOINT_URL and the usual AWS variables are honoured. The journal goes to standard output as JSON
lines, each with the hash of the one before ('holdfast evidence verify' checks them). SIGTERM stops it: it renews no longer and leaves, and the other wardens carry on.

Endpoints: /healthz (the site serves), /targetz (this warden belongs in the target group), /status, /metrics.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := warden.ConfigFromEnvironment(os.Getenv)
			if err != nil {
				return fmt.Errorf("%w: the warden's configuration is incomplete:\n%w", operator.ErrEnvironment, err)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return runWarden(ctx, cfg, cmd.OutOrStdout())
		},
	}
}

// runWarden gives a warden its AWS adapters, its database and its journal, and runs it.
func runWarden(ctx context.Context, cfg warden.Config, out io.Writer) error {
	chain, err := evidence.NewChain(out, journalHead(cfg))
	journal := slog.New(slog.NewJSONHandler(chain, nil))
	if err != nil {
		journal.Warn("the journal begins anew", "warden", cfg.Warden, "error", err.Error())
	}
	session, err := aws.Open(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", operator.ErrEnvironment, err)
	}
	var stores []term.Store
	for _, region := range cfg.TermRegions {
		stores = append(stores, session.TermStore(region, cfg.TermTable, cfg.Deployment, cfg.Site, cfg.PeerSite))
	}
	db, err := warden.NewPostgres(cfg.DSN(cfg.WriterHost), cfg.DSN(cfg.ReaderHost))
	if err != nil {
		return fmt.Errorf("%w: %w (DB_WRITER_HOST, DB_READER_HOST, DB_PORT)", operator.ErrEnvironment, err)
	}
	fargate := warden.NewFargate(cfg, session.Balancers(cfg.Region), session.Services(cfg.Region))
	w, err := warden.New(warden.Options{
		Config: cfg, Stores: stores, Database: db, Journal: journal,
		JournalHead: func() string { return evidence.Anchor{Warden: cfg.Warden, Head: chain.Head()}.String() },
		Cluster:     warden.NewAurora(cfg, session.Databases(cfg.Region), session.Databases(cfg.PeerRegion)),
		Application: fargate,
		Balancer:    warden.NewListener(cfg, session.Balancers(cfg.Region)),
		Scaler:      fargate,
		Tail:        tailExporter{cfg: cfg, log: journal.With("warden", cfg.Warden)},
	})
	if err != nil {
		db.Close()
		return err
	}
	err = w.Run(ctx)
	if !errors.Is(err, warden.ErrStuck) { // what is stuck may hold a connection, and closing waits for that
		db.Close()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", operator.ErrEnvironment, err)
	}
	return nil
}

// journalHead is the file through which a warden that is started again under its name goes on with its journal.
func journalHead(cfg warden.Config) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == ':' {
			return '-'
		}
		return r
	}, cfg.Warden)
	return filepath.Join(cfg.ExportDir, "journal-"+cfg.Deployment+"-"+name+".head")
}

// tailExporter compares the own old volume with the other site's database.
type tailExporter struct {
	cfg warden.Config
	log *slog.Logger
}

// Export implements [warden.TailExporter].
func (t tailExporter) Export(ctx context.Context) (summary string, err error) {
	old, err := dial(ctx, t.cfg.DSN(t.cfg.WriterHost))
	if err != nil {
		return "", fmt.Errorf("connect to the old volume: %w", err)
	}
	defer func() { err = errors.Join(err, old.Close(context.WithoutCancel(ctx))) }()
	survivor, err := dial(ctx, t.cfg.DSN(t.cfg.PeerDatabaseHost))
	if err != nil {
		return "", fmt.Errorf("connect to the surviving database: %w (HOLDFAST_PEER_DB_HOST)", err)
	}
	defer func() { err = errors.Join(err, survivor.Close(context.WithoutCancel(ctx))) }()
	s, err := reconcile.ExportTail(ctx, reconcile.Options{
		Old: old, Survivor: survivor, Dir: t.cfg.ExportDir, Site: t.cfg.Site, Logger: t.log,
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d rows missing and %d different in the surviving database, saved in %s",
		s.Missing, s.Different, s.Folder), nil
}

func dial(ctx context.Context, dsn string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, exportDial)
	defer cancel()
	return pgx.Connect(ctx, dsn)
}
