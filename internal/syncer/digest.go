package syncer

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// sum computes the digests of a snapshot's contents, and compares them with
// those that the log leads to. A difference means that the log and the file do
// not say the same: a change was not captured, or the disk has altered the file.
// In the latter case, or where the log knows nothing of a table, the file may be no
// whole database any more, which examine finds out. Otherwise the snapshot holds what
// the file holds. A restore that would have to cross the gap finds the same difference
// and fails, so nothing wrong is ever handed over; whoever is told can look for the
// cause.
func (p *snapshotter) sum(ctx context.Context, c *sqlite.Conn, f *fixed) error {
	found, mismatch, err := p.examine(ctx, c, f)
	if err != nil {
		return err
	}
	f.snap.Digests = found.Digests
	if mismatch != nil {
		p.status.mismatches.Add(1)
		p.cfg.Logger.Error(event.DigestMismatch, "the file's contents differ from the log; the snapshot stores the file's contents, but points between the last snapshot and this one may not be restorable",
			"sequence", f.snap.Sequence, "error", mismatch)
	}
	for table, sum := range f.logged {
		if got, there := found.Digests[table]; found.Unread[table] == nil && (!there || got != sum) {
			f.differs = append(f.differs, table)
		}
	}
	return nil
}

// vouches says that the log knows of every table what it holds.
func vouches(logged, found digest.Set) bool {
	for table := range found {
		if _, known := logged[table]; !known {
			return false
		}
	}
	return true
}

// adopt adds to what is known now the digests of a snapshot, which were true after
// sequence, and makes b the books. Where both know a table they agree, or the snapshot
// would not have been stored.
func (p *snapshotter) adopt(ctx context.Context, b changelog.Books, found digest.Set, sequence int64) error {
	known, barrier := maps.Clone(found), int64(0)
	if b.Acked > sequence {
		if err := p.follow(b.Acked, sequence, &barrier, known); err != nil {
			return err
		}
	}
	maps.Copy(known, p.digests.Known)
	return p.record(ctx, b, changelog.Digests{Known: known, Told: p.digests.Told})
}

// distrust forgets what the log says of tables that hold something else, and the next
// snapshot is stored as it is. What the batches behind that tell of those tables would
// contradict it otherwise. No upload is fixed, whose batch would tell something else
// than before.
func (p *snapshotter) distrust(ctx context.Context, tables []string) error {
	known := maps.Clone(p.digests.Known)
	for _, table := range tables {
		delete(known, table)
	}
	return p.record(ctx, p.books, changelog.Digests{Known: known, Told: p.digests.Told})
}

// rescan computes the digests of tables of which none is known, such as those
// that were altered. It reads them as they are now and takes the sums back to
// what the bucket has. Jobs that are fixed must be done first: what they tell
// of digests is fixed as well.
func (p *snapshotter) rescan(ctx context.Context) (err error) {
	if !p.unsummed || p.books.BarrierOpen() {
		return nil
	}
	if jobs, err := p.log.Jobs(changelog.Upload); err != nil || len(jobs) > 0 {
		return err
	}
	c, err := p.cfg.Reader()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Exec("BEGIN"); err != nil {
		return err
	}
	found, err := scan.Missing(ctx, c, p.digests.Known)
	if err != nil {
		return err
	}
	err = p.back(changelog.View(c), found)
	if errors.Is(err, digest.ErrIrreversible) {
		return nil // when that has been sent, there will be another round
	}
	if err != nil {
		return fmt.Errorf("undo digests to sequence %d: %w", p.books.Acked, err)
	}
	p.unsummed = false
	if len(found) == 0 {
		return nil
	}
	maps.Copy(found, p.digests.Known)
	return p.record(ctx, p.books, changelog.Digests{Known: found, Told: p.digests.Told})
}

// back takes found from the end of the log back to what the bucket has.
func (p *snapshotter) back(log *changelog.Log, found digest.Set) error {
	return log.Each(p.books.Acked+1, func(t changelog.Transaction) error {
		return log.Entries(t, func(_ int64, e *change.Entry) error { return found.Revert(e) })
	})
}
