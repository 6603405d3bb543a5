package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/internal/topology"
)

// streamPrefix is the awslogs driver's prefix of stream names.
const streamPrefix = "ecs"

// Limits of what is kept and read.
const (
	maxStreams   = 2000 // per group; the oldest are forgotten first
	maxEventSize = 256 << 10
)

// logStream is one container's log: a file with one event per line, and the file before it, if it was rotated.
type logStream struct {
	name    string
	created time.Time
	path    string
}

// logEvent is one line. The timestamp is in milliseconds since 1970.
type logEvent struct {
	id        string
	timestamp int64
	message   string
}

// streamList remembers the streams of tasks that the scheduler has forgotten.
type streamList struct {
	mu     sync.Mutex
	groups map[string][]logStream
}

// list returns a group's streams in the order in which they were first seen.
func (l *streamList) list(e *Endpoint, g topology.LogGroup) []logStream {
	current := e.currentStreams(g)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.groups == nil {
		l.groups = map[string][]logStream{}
	}
	key := g.Region + " " + g.Name
	known := l.groups[key]
	for _, s := range current {
		if !slices.ContainsFunc(known, func(k logStream) bool { return k.name == s.name }) {
			known = append(known, s)
		}
	}
	if extra := len(known) - maxStreams; extra > 0 {
		known = known[extra:]
	}
	l.groups[key] = known
	return slices.Clone(known)
}

// currentStreams finds the containers that log into a group now.
func (e *Endpoint) currentStreams(g topology.LogGroup) []logStream {
	logsInto := map[string]bool{} // task definition ARN + container
	for _, td := range e.options.Containers.TaskDefinitions(g.Region) {
		for _, c := range td.Containers {
			logsInto[td.ARN+" "+c.Name] = c.LogGroup == g.Name
		}
	}
	var out []logStream
	for _, cluster := range e.options.Containers.Clusters(g.Region) {
		tasks, err := e.options.Containers.Tasks(g.Region, cluster.Name, "")
		if err != nil { // the cluster has just gone
			continue
		}
		for _, t := range tasks {
			for _, c := range t.Containers {
				if logsInto[t.TaskDefinitionARN+" "+c.Name] && c.LogPath != "" {
					out = append(out, logStream{name: streamPrefix + "/" + c.Name + "/" + t.ID, created: t.CreatedAt, path: c.LogPath})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b logStream) int { return a.created.Compare(b.created) })
	return out
}

func (s logStream) files() []string { return []string{s.path + ".1", s.path} }

func (s logStream) size() int64 {
	total := int64(0)
	for _, path := range s.files() {
		if info, err := os.Stat(path); err == nil {
			total += info.Size()
		}
	}
	return total
}

// endsBefore reports whether nothing was written since an instant in milliseconds.
func (s logStream) endsBefore(millis int64) bool {
	info, err := os.Stat(s.path)
	return err == nil && info.ModTime().UnixMilli() < millis
}

// read returns all events that are still there, oldest first. A file that is gone has none.
func (s logStream) read() []logEvent {
	var events []logEvent
	latest := s.created.UnixMilli()
	repeats := map[string]int{}
	for _, path := range s.files() {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		scanner := bufio.NewScanner(file)
		scanner.Buffer(make([]byte, 0, 64<<10), 4*maxEventSize)
		scanner.Split(completeLines)
		for scanner.Scan() {
			line := scanner.Text()
			if strings.TrimSpace(line) == "" { // CloudWatch has no empty events
				continue
			}
			if at, ok := timestampOf(line); ok {
				latest = at
			}
			message := line[:min(len(line), maxEventSize)]
			identity := s.name + "\x00" + strconv.FormatInt(latest, 10) + "\x00" + message
			repeats[identity]++
			events = append(events, logEvent{
				id: eventID(latest, identity, repeats[identity]), timestamp: latest, message: message,
			})
		}
		_ = file.Close() // it was only read
	}
	slices.SortStableFunc(events, func(a, b logEvent) int { return int(min(max(a.timestamp-b.timestamp, -1), 1)) })
	return events
}

// completeLines splits like bufio.ScanLines, but leaves a line that is still being written for later.
func completeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
	}
	if len(data) > 3*maxEventSize { // nobody ends this line
		return len(data), data, nil
	}
	return 0, nil, nil
}

// eventID is a number of 56 digits, as CloudWatch's are, and always the same for the same event.
func eventID(millis int64, identity string, repeat int) string {
	sum := sha256.Sum256([]byte(identity + "\x00" + strconv.Itoa(repeat)))
	return fmt.Sprintf("3%015d%020d%020d", millis, binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16]))
}

// stampForm finds a time near the start of a line: RFC 3339, as structured logs have it, or the form of Go's log package.
var stampForm = regexp.MustCompile(`\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})?`)

// timestampOf is the time that a line says it was written at. A line without one belongs to the time of the line before.
func timestampOf(line string) (int64, bool) {
	found := stampForm.FindString(line[:min(len(line), 200)])
	if found == "" {
		return 0, false
	}
	found = strings.NewReplacer("/", "-", " ", "T", ",", ".").Replace(found)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(layout, found); err == nil {
			return t.UnixMilli(), true
		}
	}
	if t, err := time.ParseInLocation("2006-01-02T15:04:05.999999999", found, time.Local); err == nil {
		return t.UnixMilli(), true
	}
	return 0, false
}
