package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// Prices and defaults of docs/COST.md, in dollars.
const (
	perPut       = 5.00 / 1e6
	perGet       = 0.40 / 1e6
	perGBMonth   = 0.023
	hoursOfMonth = 730
	syncSeconds  = 5
	manifestSecs = 60
	mergedIn     = 64
	putsOfShot   = 3
)

// cost estimates what the backup costs a month. How often a program writes is not stored, only
// how many changes there were: so it is the most that they can have cost, each one in a batch of
// its own, as far as SyncInterval allows.
func (p *patient) cost(ctx context.Context) Finding {
	batches, err := p.bucket.HistoryBatches(ctx, p.stored.Manifest)
	if err != nil {
		return failed("the objects cannot be listed: "+err.Error(), remedyOf(err))
	}
	objects, bytes, err := p.bucket.Usage(ctx)
	if err != nil {
		return failed("the objects cannot be listed: "+err.Error(), remedyOf(err))
	}
	changes, _, span := lastMonth(batches, p.stored.Now())
	scale := hoursOfMonth / span.Hours()
	storage := float64(bytes) / 1e9 * perGBMonth
	return okay(fmt.Sprintf("%s in %s; at Amazon's prices $%.2f a month for storage, and at most $%.2f for requests, at the rate of the last %s",
		size(bytes), several(int64(objects), "object", "objects"), storage, requests(float64(changes)*scale, snapshotsOf(p.stored.Manifest, span)*scale), age(span)))
}

// snapshotsOf is how many snapshots were taken in the time before the last one.
func snapshotsOf(m *remote.Manifest, span time.Duration) (n float64) {
	for _, s := range m.Snapshots {
		if time.UnixMilli(m.UpdatedAt).Sub(time.UnixMilli(s.Time)) <= span {
			n++
		}
	}
	return n
}

// requests is what a month's requests cost, by the formulas of docs/COST.md.
func requests(changes, snapshots float64) float64 {
	const seconds = hoursOfMonth * 3600
	batches := min(changes, seconds/syncSeconds)
	manifests := min(batches, seconds/manifestSecs)
	puts := batches + manifests + batches/mergedIn + putsOfShot*snapshots
	return puts*perPut + batches*perGet
}
