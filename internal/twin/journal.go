package twin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/postgres"
)

// How the wardens' journals are read while they are written.
const (
	journalEvery    = 100 * time.Millisecond
	journalMostRead = 256 << 10
)

// journals follows what the wardens write to their logs and tells it as progress.
type journals struct {
	t      *Twin
	cancel chan struct{}
	done   sync.WaitGroup
	// offsets are how far each file has been read.
	offsets map[string]int64
}

func newJournals(t *Twin) *journals {
	j := &journals{t: t, cancel: make(chan struct{}), offsets: map[string]int64{}}
	j.done.Go(j.run)
	return j
}

func (j *journals) stop() {
	close(j.cancel)
	j.done.Wait()
}

func (j *journals) run() {
	tick := time.NewTicker(journalEvery)
	defer tick.Stop()
	for {
		select {
		case <-j.cancel:
			return
		case <-tick.C:
			j.poll()
		}
	}
}

func (j *journals) poll() {
	for _, s := range j.t.topo.Sites {
		tasks, err := j.t.scheduler.Tasks(s.Region, s.ECSClusterName, s.WardenService)
		if err != nil {
			continue
		}
		for _, task := range tasks {
			for _, c := range task.Containers {
				j.read(s.Name, c.LogPath)
			}
		}
	}
}

// read tells the complete lines that a file has gained.
func (j *journals) read(site, path string) {
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, j.offsets[path], journalMostRead), journalMostRead))
	if err != nil {
		return
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	j.offsets[path] += int64(end)
	for line := range bytes.Lines(data[:end]) {
		if text := journalText(line); text != "" {
			j.t.tell(site, "warden", "%s", text)
		}
	}
}

// journalText words a line of a warden's journal; "" for one that moves nothing.
func journalText(line []byte) string {
	var entry struct {
		Msg      string  `json:"msg"`
		Warden   string  `json:"warden"`
		Step     string  `json:"step"`
		Reason   string  `json:"reason"`
		Error    string  `json:"error"`
		Detail   string  `json:"detail"`
		TookMS   float64 `json:"took_ms"`
		Refusals []struct {
			Gate, Current, Wanted string
		} `json:"refusals"`
	}
	if json.Unmarshal(line, &entry) != nil {
		return ""
	}
	switch {
	case entry.Msg == "done":
		return fmt.Sprintf("%s: %s done in %.0f ms%s", entry.Warden, entry.Step, entry.TookMS, prefixed(" ", entry.Detail))
	case entry.Msg == "failed":
		return fmt.Sprintf("%s: %s failed: %s", entry.Warden, entry.Step, entry.Error)
	case entry.Msg == "decided" && (entry.Step != "wait" || len(entry.Refusals) > 0):
		text := fmt.Sprintf("%s: %s: %s", entry.Warden, entry.Step, entry.Reason)
		for _, r := range entry.Refusals {
			text += fmt.Sprintf(" [%s: %s, want %s]", r.Gate, r.Current, r.Wanted)
		}
		return text
	}
	return ""
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func (t *Twin) databaseEvent(e postgres.Event) {
	t.monitor.databaseEvent(e)
	t.tell(t.siteOf(e.Region), "database", "%s: %s", e.Source, e.Message)
}

func (t *Twin) taskEvent(e ecs.Event) {
	t.tell(t.siteOf(e.Region), "task", "%s: %s", e.Service, e.Message)
}

func (t *Twin) targetEvent(e balancer.TargetHealthChange) {
	name := e.TargetGroupARN
	for _, tg := range t.topo.TargetGroups {
		if tg.ARN == e.TargetGroupARN {
			t.tell(t.siteOf(tg.Region), "target", "%s:%d in %s is %s %s", e.Target.IP, e.Target.Port, tg.Name, e.Target.State, e.Target.Reason)
			return
		}
	}
	t.tell("", "target", "%s: %s", strings.TrimSpace(name), e.Target.State)
}
