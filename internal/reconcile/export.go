package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotLater: the surviving database's lineage has no term above the old one's, so it is not known to be the
	// survivor, and nothing was exported.
	ErrNotLater = errors.New("the other database has not served a later term than this one")
	// ErrNoTerm: the old database has never served a term.
	ErrNoTerm = errors.New("the old database has never served a term")
)

// The default bounds of an export.
const (
	// DefaultSlack is taken off the point where the two histories part, because transactions do not commit exactly in
	// the order of their commit timestamps.
	DefaultSlack = 60 * time.Second
	// DefaultBatchRows is how many rows are compared at a time. Each batch is a round trip to the other region, and the
	// database service does not wait long before it rebuilds the old volume.
	DefaultBatchRows = 5000
)

// The ways in which candidates are found.
const (
	// ByCommitTimestamp: only rows that the old database wrote after the histories part.
	ByCommitTimestamp = "commit-timestamps"
	// FullCompare: every row.
	FullCompare = "full-compare"
)

// The places that a tail is exported from.
const (
	// OldVolume is the volume that the old site's database still runs on.
	OldVolume = "old-volume"
	// KeptSnapshot is the copy of it that the database service keeps when it rebuilds the old site.
	KeptSnapshot = "snapshot"
)

// Options say what to export.
type Options struct {
	// Old is the database of the site that was active; its writes must be fenced. Survivor is the one that serves now.
	// Both are used by one goroutine, one statement at a time.
	Old, Survivor *pgx.Conn
	// Dir is the folder of exports; the export gets a folder of its own in it.
	Dir string
	// Site is the old site's name; empty for the one that served the old database's newest term.
	Site string
	// Source says what Old is; empty for OldVolume. Exports of different sources lie beside each other.
	Source string
	// Slack is in time on the databases' clocks; zero means DefaultSlack.
	Slack time.Duration
	// BatchRows is zero for DefaultBatchRows.
	BatchRows int
	// Logger receives one line per table. Nil discards.
	Logger *slog.Logger
}

// Summary is the manifest of an export.
type Summary struct {
	// Format is the version of the folder's layout.
	Format int    `json:"format"`
	Site   string `json:"site"`
	// Source is OldVolume or KeptSnapshot; empty, as older programs left it, for the former.
	Source string `json:"source,omitempty"`
	// Term is the highest term that the old database served.
	Term     term.Number `json:"term"`
	Old      Side        `json:"old"`
	Survivor Side        `json:"survivor"`
	// Method is ByCommitTimestamp or FullCompare; MethodBecause says why it was not the former.
	Method        string `json:"method"`
	MethodBecause string `json:"method_because,omitempty"`
	// Since is the oldest commit that was looked at, on the databases' clocks; absent in a full comparison.
	Since *time.Time `json:"since,omitempty"`
	// Boundary is the gap; absent if it can't be bounded, or was not by an older program.
	Boundary *Boundary `json:"boundary,omitempty"`
	// Missing and Different count rows over all tables.
	Missing    int       `json:"missing"`
	Different  int       `json:"different"`
	Tables     []Table   `json:"tables"`
	ExportedAt time.Time `json:"exported_at"`

	// Folder is where the export is; AlreadyExported says that an earlier call had written it.
	Folder          string `json:"-"`
	AlreadyExported bool   `json:"-"`
	// SHA256 is the manifest's, and through it that of every file.
	SHA256 string `json:"-"`
}

// Side is what one of the two databases says about itself.
type Side struct {
	// SystemIdentifier is empty where the service will not say.
	SystemIdentifier string        `json:"system_identifier,omitempty"`
	Position         string        `json:"position"`
	Terms            []term.Number `json:"terms"`
	ServerStarted    time.Time     `json:"server_started"`
}

// Table is one table's part of an export.
type Table struct {
	Name string `json:"name"`
	// File is relative to the folder.
	File   string   `json:"file"`
	SHA256 string   `json:"sha256"`
	Key    []string `json:"key"`
	// KeyIsWholeRow says that the table has no primary key and rows were compared as a whole.
	KeyIsWholeRow bool `json:"key_is_whole_row,omitempty"`
	// Compared counts the candidates.
	Compared  int `json:"compared"`
	Missing   int `json:"missing"`
	Different int `json:"different"`
}

// ExportTail writes what the old database's protected tables have and the surviving ones have not, or have with other
// contents. It is idempotent: an export of the same site and term that is there and complete is returned as it is. It
// is atomic: the folder appears under its name once everything in it is on disk. It only reads the databases.
func ExportTail(ctx context.Context, o Options) (Summary, error) {
	o = o.withDefaults()
	s, old, err := o.identify(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("export the tail of %s: %w", o.Site, err)
	}
	o.Site = s.Site
	name := fmt.Sprintf("tail-%s-term-%d", s.Site, s.Term)
	if s.Source == KeptSnapshot {
		name += "-snapshot"
	}
	s.Folder = filepath.Join(o.Dir, name)
	if earlier, err := Verify(s.Folder); err == nil {
		earlier.AlreadyExported = true
		return earlier, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return Summary{}, fmt.Errorf("export the tail of site %s: an earlier export is damaged (move it away to export again): %w", o.Site, err)
	}
	if err := o.export(ctx, &s, old); err != nil {
		return Summary{}, fmt.Errorf("export the tail of site %s to %s: %w", o.Site, s.Folder, err)
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Slack <= 0 {
		o.Slack = DefaultSlack
	}
	if o.BatchRows <= 0 {
		o.BatchRows = DefaultBatchRows
	}
	if o.Source == "" {
		o.Source = OldVolume
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// identify reads who the two databases are, and refuses if the survivor is not later than the old one.
func (o Options) identify(ctx context.Context) (Summary, fence.State, error) {
	s := Summary{Format: 1, Site: o.Site, Source: o.Source, ExportedAt: time.Now().UTC(), Tables: []Table{}}
	var states [2]fence.State
	for i, side := range []struct {
		name string
		conn *pgx.Conn
		into *Side
	}{{"old", o.Old, &s.Old}, {"surviving", o.Survivor, &s.Survivor}} {
		state, err := fence.Sample(ctx, side.conn)
		if err != nil {
			return Summary{}, fence.State{}, fmt.Errorf("the %s database: %w", side.name, err)
		}
		states[i] = state
		*side.into = Side{Position: state.Position, Terms: state.Terms, ServerStarted: state.ServerStarted.UTC()}
		// Managed services may refuse; then the histories are compared without it.
		_ = side.conn.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()").Scan(&side.into.SystemIdentifier)
	}
	if len(s.Old.Terms) == 0 {
		return Summary{}, fence.State{}, ErrNoTerm
	}
	s.Term = s.Old.Terms[len(s.Old.Terms)-1]
	if n := len(s.Survivor.Terms); n == 0 || s.Survivor.Terms[n-1] <= s.Term {
		return Summary{}, fence.State{}, fmt.Errorf("%w (terms %v, here %v)", ErrNotLater, s.Survivor.Terms, s.Old.Terms)
	}
	if s.Site == "" {
		if err := o.Old.QueryRow(ctx, "SELECT site FROM holdfast.terms WHERE term = $1", s.Term).Scan(&s.Site); err != nil {
			return Summary{}, fence.State{}, fmt.Errorf("read whose term %d was: %w", s.Term, err)
		}
	}
	return s, states[0], nil
}

// export writes the folder under a temporary name and renames it.
func (o Options) export(ctx context.Context, s *Summary, old fence.State) error {
	since, because, err := o.partingOfHistories(ctx, *s)
	if err != nil {
		return err
	}
	s.Method, s.MethodBecause = ByCommitTimestamp, ""
	if because != "" {
		s.Method, s.MethodBecause = FullCompare, because
	} else {
		since = since.Add(-o.Slack).UTC()
		s.Since = &since
	}
	if s.Boundary, err = o.boundary(ctx, *s, old); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	partial, err := os.MkdirTemp(o.Dir, ".partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial) // does nothing once it was renamed
	if err := o.compareAll(ctx, s, partial); err != nil {
		return err
	}
	if s.SHA256, err = writeManifest(partial, *s); err != nil {
		return err
	}
	if err := syncDir(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, s.Folder); err != nil {
		// A sibling warden may have been faster; what it wrote counts if it is complete.
		earlier, verifyErr := Verify(s.Folder)
		if verifyErr != nil {
			return err
		}
		*s = earlier
		s.AlreadyExported = true
		return nil
	}
	return syncDir(o.Dir)
}
