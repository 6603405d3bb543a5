package reconcile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"path/filepath"
)

const manifestName = "manifest.json"

// maxManifestBytes and maxLineBytes bound what Verify and ReadLines take in.
const (
	maxManifestBytes = 1 << 20
	maxLineBytes     = 64 << 20
)

// lines is a file of JSON lines that is being written.
type lines struct {
	file   *os.File
	buffer *bufio.Writer
	sum    hash.Hash
	name   string
}

func createLines(folder, table string) (*lines, error) {
	name := url.PathEscape(table) + ".jsonl"
	file, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	l := &lines{file: file, sum: sha256.New(), name: name}
	l.buffer = bufio.NewWriter(io.MultiWriter(file, l.sum))
	return l, nil
}

func (l *lines) write(line Line) error {
	encoded, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write %s: %w", l.name, err)
	}
	if _, err := l.buffer.Write(append(encoded, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", l.name, err)
	}
	return nil
}

// finish puts the file on disk and returns its name and checksum.
func (l *lines) finish() (name, sum string, err error) {
	err = errors.Join(l.buffer.Flush(), l.file.Sync(), l.file.Close())
	if err != nil {
		return "", "", fmt.Errorf("write %s: %w", l.name, err)
	}
	return l.name, hex.EncodeToString(l.sum.Sum(nil)), nil
}

// discard closes the file if finish did not.
func (l *lines) discard() { _ = l.file.Close() }

// writeManifest returns the checksum of what it wrote.
func writeManifest(folder string, s Summary) (string, error) {
	encoded, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write the manifest: %w", err)
	}
	encoded = append(encoded, '\n')
	file, err := os.OpenFile(filepath.Join(folder, manifestName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.Write(encoded)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", fmt.Errorf("write the manifest: %w", err)
	}
	return sumOf(encoded), nil
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// syncDir makes the names in a folder durable.
func syncDir(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Verify reads the manifest of an export and checks every file against it. The error wraps os.ErrNotExist if there is
// no such folder.
func Verify(folder string) (Summary, error) {
	if _, err := os.Stat(folder); err != nil {
		return Summary{}, err
	}
	encoded, err := readBounded(filepath.Join(folder, manifestName), maxManifestBytes)
	if err != nil {
		// A folder without a manifest is damaged, not absent.
		return Summary{}, fmt.Errorf("read the manifest of %s: %v", folder, err)
	}
	var s Summary
	if err := json.Unmarshal(encoded, &s); err != nil {
		return Summary{}, fmt.Errorf("read the manifest of %s: %w", folder, err)
	}
	if s.Format != 1 {
		return Summary{}, fmt.Errorf("the manifest of %s has format %d, this program knows 1", folder, s.Format)
	}
	s.Folder, s.SHA256 = folder, sumOf(encoded)
	for _, t := range s.Tables {
		if t.File != filepath.Base(t.File) {
			return Summary{}, fmt.Errorf("the manifest of %s names the file %q outside the folder", folder, t.File)
		}
		sum, err := checksum(filepath.Join(folder, t.File))
		if err != nil {
			return Summary{}, fmt.Errorf("check %s of %s: %v", t.File, folder, err)
		}
		if sum != t.SHA256 {
			return Summary{}, fmt.Errorf("%s of %s has checksum %s, the manifest says %s", t.File, folder, sum, t.SHA256)
		}
	}
	return s, nil
}

// ReadLines calls each with every line of a table's file. The manifest should have been verified before.
func ReadLines(folder string, t Table, each func(Line) error) error {
	file, err := os.Open(filepath.Join(folder, t.File))
	if err != nil {
		return err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(make([]byte, 64<<10), maxLineBytes)
	for scanner.Scan() {
		var line Line
		decoder := json.NewDecoder(bytes.NewReader(scanner.Bytes()))
		if err := decoder.Decode(&line); err != nil {
			return fmt.Errorf("read %s of %s: %w", t.File, folder, err)
		}
		if err := each(line); err != nil {
			return err
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read %s of %s: %w", t.File, folder, err)
	}
	return nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return data, err
}

func checksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
