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

// sum computes the digests of a snapshot's contents, and compares them with those that
// follow from the log. A difference means that a change was not captured, or that the
// disk has altered the file. In the latter case, or if the log has no digest of a table,
// the file may be damaged, which examine checks. Otherwise the snapshot holds what the
// file holds. A restore that would have to replay across the gap finds the same
// difference and fails, so it never returns wrong contents. The logged error lets the
// user look for the cause.
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

// vouches reports whether the log has a digest for every table.
func vouches(logged, found digest.Set) bool {
	for table := range found {
		if _, known := logged[table]; !known {
			return false
		}
	}
	return true
}

// adopt adds the digests of a snapshot, which were true after sequence, to the known
// ones, and makes b the books. Digests of the same table agree, or the snapshot would
// not have been stored.
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

// distrust forgets the digests of tables whose contents differ from the log, so that the
// next snapshot is stored as it is. Otherwise the digests in later batches would
// contradict that snapshot. No upload is claimed at this point, so no batch changes that
// may already be stored.
func (p *snapshotter) distrust(ctx context.Context, tables []string) error {
	known := maps.Clone(p.digests.Known)
	for _, table := range tables {
		delete(known, table)
	}
	return p.record(ctx, p.books, changelog.Digests{Known: known, Told: p.digests.Told})
}

// rescan computes the digests of tables that have none, such as altered ones. It reads
// the tables as they are now, and reverts the sums to the state that the bucket has.
// Claimed uploads must be done first, since the digests in their batches are fixed.
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
		return nil // a round after the irreversible change has been sent tries again
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

// back reverts found from the end of the log to the state that the bucket has.
func (p *snapshotter) back(log *changelog.Log, found digest.Set) error {
	return log.Each(p.books.Acked+1, func(t changelog.Transaction) error {
		return log.Entries(t, func(_ int64, e *change.Entry) error { return found.Revert(e) })
	})
}
