// Command notes is a small web service with a database, of the kind that a team brings along: it keeps notes under ids that
// its clients choose. It stands for every application that knows nothing of Holdfast, so it must stay that way: no lease, no
// site, no import of this module, no word of a standby.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// note is what clients send and get.
type note struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Limits of one request.
const (
	maxBodyBytes   = 64 << 10
	requestTimeout = 2 * time.Second
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("notes: ", err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL")) // connects when it has to
	if err != nil {
		return err
	}
	defer pool.Close()
	server := &http.Server{Addr: os.Getenv("LISTEN"), Handler: routes(pool), ReadHeaderTimeout: requestTimeout}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := server.Shutdown(last); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func routes(pool *pgxpool.Pool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("POST /notes", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		var n note
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes)).Decode(&n); err != nil || n.ID == "" {
			http.Error(w, "want a JSON object with an id and a text", http.StatusBadRequest)
			return
		}
		if _, err := pool.Exec(ctx, "INSERT INTO notes (id, text) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", n.ID, n.Text); err != nil {
			log.Print("keep a note: ", err)
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET /notes/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		n := note{ID: r.PathValue("id")}
		switch err := pool.QueryRow(ctx, "SELECT text FROM notes WHERE id = $1", n.ID).Scan(&n.Text); {
		case errors.Is(err, pgx.ErrNoRows):
			http.NotFound(w, r)
		case err != nil:
			log.Print("find a note: ", err)
			http.Error(w, "not now", http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(n) // the client may be gone
		}
	})
	return mux
}
