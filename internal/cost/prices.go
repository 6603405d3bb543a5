package cost

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed prices.csv
var priceFile string

// global is the region of a price that is the same everywhere.
const global = "global"

// How a price was read.
const (
	// Primary: on a page or in a price list that AWS publishes, as a stored copy.
	Primary = "primary"
	// AWSNote: in a document that AWS publishes beside its price pages.
	AWSNote = "aws-note"
	// ThirdParty: in a dated note by others.
	ThirdParty = "third-party"
)

// Price is one row of the price list.
type Price struct {
	Key    string `json:"key"`
	Region string `json:"region"`
	Unit   string `json:"unit"`
	// USD is the price of one unit; for a key that ends in "-share" it is a part of the on-demand price.
	USD Amount `json:"-"`
	// Date is when it was read or published, as in 2026-09-18; a year alone if the source says no more.
	Date string `json:"date"`
	// Page is AWS's page to check it on; Via is where it was read; Read is one of the constants above.
	Page string `json:"page"`
	Via  string `json:"via"`
	Read string `json:"read"`
}

// PriceList finds prices.
type PriceList struct {
	rows map[[2]string]Price
}

var (
	keyPattern    = regexp.MustCompile(`^[a-z0-9]+(?:[.-][a-z0-9]+)*$`)
	regionPattern = regexp.MustCompile(`[a-z]{2}(?:-[a-z]+)+-[0-9]`)
)

// Prices is the embedded price list. The error is nil in every build whose tests passed.
func Prices() (PriceList, error) { return parsePrices(priceFile) }

func parsePrices(text string) (PriceList, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.Comment = '#'
	r.FieldsPerRecord = 8
	records, err := r.ReadAll()
	if err != nil {
		return PriceList{}, fmt.Errorf("read the price list: %w", err)
	}
	list := PriceList{rows: map[[2]string]Price{}}
	for i, f := range records {
		if i == 0 { // the names of the columns
			continue
		}
		p := Price{Key: f[0], Region: f[1], Unit: f[2], Date: f[4], Read: f[5], Page: f[6], Via: f[7]}
		if p.USD, err = ParseAmount(f[3]); err == nil {
			err = list.add(p)
		}
		if err != nil {
			return PriceList{}, fmt.Errorf("read the price list: row %d, %s in %s: %w", i, p.Key, p.Region, err)
		}
	}
	return list, nil
}

func (l PriceList) add(p Price) error {
	_, dateErr := time.Parse("2006-01-02"[:min(len(p.Date), 10)], p.Date)
	switch _, twice := l.rows[[2]string{p.Key, p.Region}]; {
	case twice:
		return fmt.Errorf("the price is there twice")
	case !keyPattern.MatchString(p.Key), p.Unit == "", p.Via == "", !strings.HasPrefix(p.Page, "https://"):
		return fmt.Errorf("the key, the unit, the page or the source is missing or malformed")
	case p.Region != global && regionPattern.FindString(p.Region) != p.Region:
		return fmt.Errorf("%q is no region", p.Region)
	case dateErr != nil, len(p.Date) != 10 && len(p.Date) != 7 && len(p.Date) != 4:
		return fmt.Errorf("%q is no date as in 2026-09-18, 2026-09 or 2026", p.Date)
	case !slices.Contains([]string{Primary, AWSNote, ThirdParty}, p.Read):
		return fmt.Errorf("%q says not how it was read", p.Read)
	case p.USD.Sign() <= 0:
		return fmt.Errorf("the price must be above 0")
	}
	l.rows[[2]string{p.Key, p.Region}] = p
	return nil
}

// Find is the price of a key in a region, or the one that holds everywhere.
func (l PriceList) Find(key, region string) (Price, bool) {
	p, has := l.rows[[2]string{key, region}]
	if !has {
		p, has = l.rows[[2]string{key, global}]
	}
	return p, has
}
