package inspect

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
)

// Prices of Amazon S3 Standard in us-east-1, in US dollars, in 2026: what the form begins
// with.
const (
	priceStored = 0.023  // a GiB and month
	pricePut    = 0.005  // a thousand PUT and LIST requests
	priceGet    = 0.0004 // a thousand GET requests
)

// costBody is the page of what the backup costs.
type costBody struct {
	Action           string
	Stored, Put, Get string // prices, as typed
	Bytes            int64
	Objects          int
	Batches          int
	BatchBytes       int64
	Snapshots        int
	SnapshotBytes    int64
	StoredCost       string // a month
	Month            int    // objects of the last 30 days that are still there
	MonthBytes       int64
	PutCost          string // at least, a month
	RestoreGets      int
	RestoreBytes     int64
	RestoreCost      string
	Metrics          *driftdb.Metrics
}

// costPage shows requests and what they cost. The bucket does not record requests: what is
// known of them are the objects that they have left, and, with an open database, its own
// counters.
func (h *Handler) costPage(v *visit) (*view, error) {
	b := costBody{Action: v.link("cost")}
	var prices [3]float64
	for i, p := range []struct {
		name string
		text *string
		list float64
	}{{"stored", &b.Stored, priceStored}, {"put", &b.Put, pricePut}, {"get", &b.Get, priceGet}} {
		*p.text = strings.TrimSpace(v.URL.Query().Get(p.name))
		if *p.text == "" {
			*p.text = strconv.FormatFloat(p.list, 'f', -1, 64)
		}
		f, err := strconv.ParseFloat(*p.text, 64)
		if err != nil || !(f >= 0 && f < 1e6) {
			return nil, bad("%s is %s, and should be a price such as %g", p.name, quoted(shorten(*p.text, 50)), p.list)
		}
		prices[i] = f
	}
	info, err := v.backup.Info(v.ctx)
	if err != nil {
		return nil, err
	}
	batches, err := v.backup.Batches(v.ctx)
	if err != nil {
		return nil, err
	}
	b.count(info, batches, time.Now().AddDate(0, 0, -30))
	const gib = 1 << 30
	b.StoredCost = dollars(float64(b.Bytes) / gib * prices[0])
	b.PutCost = dollars(float64(b.Month) / 1000 * prices[1])
	b.RestoreCost = dollars(float64(b.RestoreGets) / 1000 * prices[2])
	if v.db != nil {
		m := v.db.Metrics()
		b.Metrics = &m
	}
	return &view{template: "cost", Title: "Cost", Tab: "Cost", Body: b, Commands: []command{v.command("Print sizes and objects", "status", "--json")}}, nil
}

// count counts what there is, what was stored since a time, and what a restore reads.
func (b *costBody) count(info driftdb.BackupInfo, batches []driftdb.BatchInfo, since time.Time) {
	b.Bytes, b.Objects, b.Batches, b.Snapshots = info.Bytes, info.Objects, len(batches), len(info.Snapshots)
	newest := int64(0)
	for _, s := range info.Snapshots {
		b.SnapshotBytes += s.Size
		newest, b.RestoreBytes = s.Sequence, s.Size
		if s.Time.After(since) {
			b.Month, b.MonthBytes = b.Month+1, b.MonthBytes+s.Size
		}
	}
	b.RestoreGets = 2 // the manifest, and the snapshot
	for _, o := range batches {
		b.BatchBytes += o.Bytes
		if o.Time.After(since) {
			b.Month, b.MonthBytes = b.Month+1, b.MonthBytes+o.Bytes
		}
		if o.To > newest {
			b.RestoreGets, b.RestoreBytes = b.RestoreGets+1, b.RestoreBytes+o.Bytes
		}
	}
}

// dollars formats an amount; what is below a cent is not nothing.
func dollars(f float64) string {
	switch {
	case f == 0:
		return "$0"
	case f < 0.01:
		return "under $0.01"
	}
	return fmt.Sprintf("$%.2f", f)
}
