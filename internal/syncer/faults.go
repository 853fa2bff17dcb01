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

// A database larger than checkAtOnce bytes is checked in slices: at each snapshot some
// of its tables, for checkBudget.
const (
	checkAtOnce = 64 << 20
	checkBudget = 2 * time.Second
)

// earlier is what the bucket has to say before a snapshot is added.
type earlier struct {
	snap remote.Snapshot // the newest one
	none bool            // there is nothing that could be restored
}

// earlier reads the manifest. A log that does not begin with the first change, or that
// begins with a barrier, leads to nothing without a snapshot.
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

// unknown is the damage that the bucket does not have: its newest point is whole there,
// and must not be hidden behind one that is not. Where there is no backup at all, one
// of a damaged file has to do, and so have those after it.
func (e earlier) unknown(found check.Report) []check.Fault {
	if e.none {
		return nil
	}
	return slices.DeleteFunc(found.Of(check.Damage), func(f check.Fault) bool { return check.Damaged(e.snap.Faults[f.Table]) })
}

// examine reads all of a fixed state: the digests of its tables, and what is wrong with
// them, which becomes part of the snapshot. All is checked where the log does not
// vouch for the tables. Damage that the bucket does not have is an ErrMalformed.
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

// differ compares what the log says with what was found in the tables that could be
// read.
func differ(logged digest.Set, found check.Report) error {
	readable := digest.Set{}
	for table, sum := range logged {
		if found.Unread[table] == nil {
			readable[table] = sum
		}
	}
	return readable.Compare(found.Digests)
}
