package lost

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/reconcile"
)

// maxLineBytes bounds one line of a file of charges.
const maxLineBytes = 1 << 20

// columns are those that a file must have, under these names; merchant and merchant_reference may be there too.
var columns = []string{"reference", "amount", "currency", "status", "created_at"}

// ReadFile reads an acquirer's export: JSON lines, or CSV with a header line, with the fields reference, amount (an
// integer in the currency's minor unit), currency, status and created_at (RFC 3339). Other fields are ignored. A file does
// not say what it is complete for: window says so, or, where its ends are zero, the file's first and last charge do.
func ReadFile(path string, window reconcile.Span) (List, error) {
	file, err := os.Open(path)
	if err != nil {
		return List{}, err
	}
	defer file.Close()
	charges, err := readCharges(file)
	if err != nil {
		return List{}, fmt.Errorf("read the charges in %s: %w", path, err)
	}
	l := List{Source: path, Window: window, WindowBecause: "as told", Charges: charges, Count: len(charges)}
	if window.From.IsZero() || window.Until.IsZero() {
		l.WindowBecause = "from the first charge in it to the last, where it was not told"
	}
	first, last := ends(charges)
	if window.From.IsZero() {
		l.Window.From = first
	}
	if window.Until.IsZero() {
		l.Window.Until = last
	}
	return l, nil
}

// ends are the times of the first and the last charge.
func ends(charges []Charge) (first, last time.Time) {
	for i, c := range charges {
		if i == 0 || c.CreatedAt.Before(first) {
			first = c.CreatedAt
		}
		if c.CreatedAt.After(last) {
			last = c.CreatedAt
		}
	}
	return first.UTC(), last.UTC()
}

func readCharges(r io.Reader) ([]Charge, error) {
	buffered := bufio.NewReader(r)
	if mark, _ := buffered.Peek(3); string(mark) == "\xef\xbb\xbf" { // spreadsheets begin with it
		_, _ = buffered.Discard(len(mark))
	}
	begin, err := buffered.Peek(1)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	if begin[0] == '{' {
		return readJSONLines(buffered)
	}
	return readCSV(buffered)
}

func readJSONLines(r io.Reader) ([]Charge, error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLineBytes)
	var charges []Charge
	for line := 1; scanner.Scan(); line++ {
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		var c Charge
		err := json.Unmarshal(scanner.Bytes(), &c)
		if err == nil {
			err = c.check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if charges = append(charges, c); len(charges) > maxCharges {
			return nil, fmt.Errorf("more than %d charges", maxCharges)
		}
	}
	return charges, scanner.Err()
}

func readCSV(r io.Reader) ([]Charge, error) {
	reader := csv.NewReader(r)
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	place := map[string]int{}
	for i, name := range header {
		place[strings.ToLower(strings.TrimSpace(name))] = i
	}
	var missing []string
	for _, name := range columns {
		if _, ok := place[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("line 1 has the columns %q and lacks %q", header, missing)
	}
	var charges []Charge
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return charges, nil
		}
		if err != nil {
			return nil, err // it names the line
		}
		line, _ := reader.FieldPos(0)
		c, err := chargeOf(func(name string) string {
			if i, ok := place[name]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		})
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if charges = append(charges, c); len(charges) > maxCharges {
			return nil, fmt.Errorf("more than %d charges", maxCharges)
		}
	}
}

func chargeOf(field func(string) string) (Charge, error) {
	c := Charge{
		Reference: field("reference"), Currency: field("currency"), Status: field("status"),
		Merchant: field("merchant"), MerchantReference: field("merchant_reference"),
	}
	var err error
	if c.Amount, err = strconv.ParseInt(field("amount"), 10, 64); err != nil {
		return Charge{}, fmt.Errorf("amount %q: want an integer in the currency's minor unit (1250 for 12.50 EUR)", field("amount"))
	}
	if c.CreatedAt, err = time.Parse(time.RFC3339Nano, field("created_at")); err != nil {
		return Charge{}, fmt.Errorf("created_at %q: want an RFC 3339 time with its zone (2026-01-02T15:04:05Z)", field("created_at"))
	}
	return c, c.check()
}
