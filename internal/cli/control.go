package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"holdfast/internal/operator"
	"holdfast/internal/twin"
)

// Limits of the control socket.
const (
	maxControlBody = 16 << 20 // the access log is the longest answer
	// maxSample is how long a command may have processor time measured.
	maxSample = 10 * time.Minute
)

// controlServer answers the commands that ask a running twin for what AWS would not tell them. It listens on a Unix
// socket beside the run file, in a folder that only this user may enter, so it asks for no credentials.
type controlServer struct {
	server *http.Server
	path   string
	done   chan struct{}
}

// controlPath is the socket of a twin's name.
func controlPath(name string) (string, error) {
	path, err := runPath(name)
	return strings.TrimSuffix(path, ".json") + ".sock", err
}

// serveControl starts the server for a twin whose name this process holds.
func serveControl(name string, t *twin.Twin) (*controlServer, error) {
	path, err := controlPath(name)
	if err != nil {
		return nil, err
	}
	// A twin that was killed leaves its socket; whoever holds the name may remove it.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: remove the old control socket: %w", operator.ErrEnvironment, err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: listen on the control socket: %w; set XDG_RUNTIME_DIR to a folder with a shorter path",
			operator.ErrEnvironment, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) { answerControl(w, t.Calls(), nil) })
	mux.HandleFunc("GET /inventory", func(w http.ResponseWriter, r *http.Request) {
		sample, err := time.ParseDuration(r.FormValue("sample"))
		if err != nil {
			answerControl(w, nil, err)
			return
		}
		inventory, err := t.Inventory(r.Context(), min(max(sample, 0), maxSample))
		answerControl(w, inventory, err)
	})
	handleFaults(mux, t)
	c := &controlServer{
		path: path, done: make(chan struct{}),
		server: &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: maxSample + time.Minute, MaxHeaderBytes: 16 << 10},
	}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(listener) // ends with Close
	}()
	return c, nil
}

// close ends the server and removes its socket.
func (c *controlServer) close() {
	_ = c.server.Close()
	<-c.done
	_ = os.Remove(c.path)
}

// answerControl writes a value, or an error as {"error": …} with status 409.
func answerControl(w http.ResponseWriter, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		value = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(value) // the command may be gone; there is nobody to tell
}

// callControl asks the twin of a name; the answer is decoded into out. A nil body is a GET. It waits as long as
// ctx lets it.
func callControl(ctx context.Context, name, resource string, body io.Reader, out any) error {
	path, err := controlPath(name)
	if err != nil {
		return err
	}
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://twin/"+strings.TrimPrefix(resource, "/"), body)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the twin %s: %w", name, err)
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(io.LimitReader(response.Body, maxControlBody))
	if response.StatusCode != http.StatusOK {
		var failure struct {
			Error string `json:"error"`
		}
		if err := decoder.Decode(&failure); err != nil || failure.Error == "" {
			return fmt.Errorf("the twin %s answered %s", name, response.Status)
		}
		return errors.New(failure.Error)
	}
	if err := decoder.Decode(out); err != nil {
		return fmt.Errorf("read the answer of the twin %s: %w", name, err)
	}
	return nil
}
