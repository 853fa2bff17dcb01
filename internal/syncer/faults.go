package syncer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// A database larger than checkAtOnce bytes is checked in slices: each snapshot checks
// some of its tables, for about checkBudget.
const (
	checkAtOnce = 64 << 20
	checkBudget = 2 * time.Second
)

// earlier is what the manifest has before a snapshot is added.
type earlier struct {
	snap remote.Snapshot // the newest one
	none bool            // the bucket has nothing that could be restored
}

// earlier reads the manifest. Without a snapshot, a log can be replayed only if it begins
// with the first change and not with a barrier.
func (p *snapshotter) earlier() (e earlier) {
	m := p.epoch.current().Manifest
	if m == nil {
		return e
	}
	if n := len(m.Snapshots); n > 0 {
		e.snap = m.Snapshots[n-1]
		return e
	}
	e.none = m.LatestSequence == 0 || len(m.Lineage) > 0 && m.Lineage[0].From > 1
	return e
}

// unknown returns the damage that the newest snapshot does not have. The backup's newest
// point is intact there, and must not be hidden by a damaged one. If there is no backup
// at all, one of a damaged file is better than none, and so are later ones with the same
// damage.
func (e earlier) unknown(found check.Report) []check.Fault {
	if e.none {
		return nil
	}
	return slices.DeleteFunc(found.Of(check.Damage), func(f check.Fault) bool { return check.Damaged(e.snap.Faults[f.Table]) })
}

// examine reads all of a fixed state. It computes the digests of the tables, and finds
// their faults, which become part of the snapshot. If the log does not vouch for the
// tables, all of them are checked. Damage that the last snapshot does not have is an
// ErrMalformed.
func (p *snapshotter) examine(ctx context.Context, c *sqlite.Conn, f *fixed) (found check.Report, mismatch error, err error) {
	o := check.Options{After: f.before.snap.CheckedThrough}
	size, err := c.Int("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
	if err != nil {
		return found, nil, err
	}
	if size > checkAtOnce && !f.before.none && len(f.logged) > 0 {
		o.Budget = checkBudget
	}
	if found, err = check.Run(ctx, c, o); err != nil {
		return found, nil, err
	}
	mismatch = differ(f.logged, found)
	if !found.Whole && (mismatch != nil || !vouches(f.logged, found.Digests)) {
		if found, err = check.Run(ctx, c, check.Options{}); err != nil {
			return found, nil, err
		}
	}
	f.snap.Faults, f.snap.CheckedThrough = found.Onto(f.before.snap.Faults), found.Through
	if damage := f.before.unknown(found); len(damage) > 0 {
		err = fmt.Errorf("%w: %s", ErrMalformed, strings.Join(check.List(check.ByTable(damage)), "; "))
	}
	return found, mismatch, err
}

// differ compares the log's digests with those of the tables that could be read.
func differ(logged digest.Set, found check.Report) error {
	readable := digest.Set{}
	for table, sum := range logged {
		if found.Unread[table] == nil {
			readable[table] = sum
		}
	}
	return readable.Compare(found.Digests)
}
