package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// LastDrill is the newest verdict in a folder of results.
type LastDrill struct {
	Folder     string    `json:"folder"`
	At         time.Time `json:"at"`
	Verdict    string    `json:"verdict"`
	Fault      string    `json:"fault"`
	Speed      float64   `json:"speed"`
	RTOSeconds *float64  `json:"rto_seconds"`
	RPOSeconds *float64  `json:"rpo_seconds"`
}

// verdictFile is what a drill leaves in its own folder; verdictLimit bounds it, in bytes.
const (
	verdictFile  = "verdict.json"
	verdictLimit = 16 << 20
)

// ReadLastDrill finds the newest verdict one folder below the given one. Without any it returns nil.
func ReadLastDrill(results string) (*LastDrill, error) {
	entries, err := os.ReadDir(results)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the last drill: %w", err)
	}
	newest, at := "", time.Time{}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(results, e.Name(), verdictFile))
		if err == nil && info.ModTime().After(at) && info.Size() <= verdictLimit {
			newest, at = filepath.Join(results, e.Name()), info.ModTime()
		}
	}
	if newest == "" {
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Join(newest, verdictFile))
	if err != nil {
		return nil, fmt.Errorf("read the last drill: %w", err)
	}
	d := LastDrill{Folder: newest, At: at.UTC()}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("read the last drill from %s: %w", newest, err)
	}
	return &d, nil
}

func (d *LastDrill) String() string {
	text := fmt.Sprintf("%s, %s at speed %g, %s", d.Verdict, d.Fault, d.Speed, d.At.Format(time.RFC3339))
	if d.RTOSeconds != nil {
		text += fmt.Sprintf(", RTO %.1f s", *d.RTOSeconds)
	}
	return text + " (" + d.Folder + ")"
}
