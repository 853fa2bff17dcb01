package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

// snapshotDue says whether a snapshot has to be taken now. After a barrier it
// has to. Otherwise it is worth its upload when enough entries have passed and
// the batches since the last one weigh at least half of it: then all snapshots
// together cost no more than a few times the changes, whatever the database's
// size. If none can be stored of the file as it is, a flush tries again only where
// it would be in vain without one.
//
// A session that ends takes one that nothing depends on of a small file only: there may
// not be the time for more.
func (s *Syncer) snapshotDue(r request) bool {
	b := s.books
	if b.BarrierOpen() {
		return r.flush || !s.ailment.waits()
	}
	if r.leave {
		if info, err := os.Stat(s.cfg.Path); err != nil || info.Size() > leaveSnapshot {
			return false
		}
	}
	return s.cfg.SnapshotEvery >= 0 && b.Acked-max(b.Snapshot, 0) >= s.cfg.SnapshotEvery && 2*b.BytesSince >= b.SnapshotBytes && !s.ailment.waits()
}

// leaveSnapshot is the size of the largest file of which a session takes a snapshot when
// it ends, in bytes.
const leaveSnapshot = 8 << 20

// fixed is a state of the database, and the snapshot that it is going to be.
type fixed struct {
	conn    *sqlite.Conn // in a read transaction, which is the state
	snap    remote.Snapshot
	before  earlier    // what the bucket had before it
	logged  digest.Set // what the log says of the state's tables
	differs []string   // the tables that hold something else, once they have been summed
}

// fix fixes the state that the database has now. That takes no longer than reading
// what the log has not sent; the rest is up to picture.
func (s *Syncer) fix() (_ *fixed, err error) {
	f := &fixed{before: s.earlier()}
	if f.conn, f.snap.Sequence, err = s.pin(); err != nil {
		return nil, err
	}
	if err = s.describe(&f.snap); err == nil {
		f.logged, err = s.loggedAt(f.snap.Sequence)
	}
	if err != nil {
		return nil, errors.Join(err, f.conn.Close())
	}
	return f, nil
}

// picture makes a fixed state one that can be stored: it copies and sums it. It reads
// all of the database, and needs neither the token nor the log. Whoever gets the view
// closes it.
func (s *Syncer) picture(ctx context.Context, f *fixed) (view, error) {
	v, err := s.view(ctx, f.conn)
	if err != nil {
		return nil, err
	}
	if err := s.sum(ctx, v.Conn(), f); err != nil {
		return nil, errors.Join(fmt.Errorf("check a snapshot: %w", err), v.Close())
	}
	if c, ok := v.(*copied); ok {
		if err := c.wipe(); err != nil {
			return nil, errors.Join(fmt.Errorf("wipe the free pages of a snapshot: %w", err), v.Close())
		}
	}
	return v, nil
}

// describe completes a snapshot with what the log knows of its sequence. What it has
// not sent of that is still there.
func (s *Syncer) describe(snap *remote.Snapshot) (err error) {
	snap.Time = time.Now().UnixMilli()
	if snap.Chain, err = s.log.ChainAt(s.books.Acked, s.books.Chain, max(snap.Sequence, s.books.Acked)); err != nil {
		return err
	}
	if snap.Changed, err = s.log.TimeAt(snap.Sequence); err != nil {
		return err
	}
	earliest, err := s.log.Earliest(s.books.Acked, snap.Sequence)
	snap.Earliest = told(min(s.books.Earliest, earliest))
	return err
}

// store uploads the view under a name of its own, which key makes from a time.
func (s *Syncer) store(ctx context.Context, v view, snap *remote.Snapshot, key func(at int64) string) error {
	for at := snap.Time; ; at++ {
		f, err := v.File(ctx)
		if err != nil {
			return err
		}
		err = s.cfg.Bucket.PutSnapshot(ctx, s.log.Identity().DatabaseID, key(at), f, snap)
		err = errors.Join(err, f.Close())
		if errors.Is(err, objstore.ErrPrecondition) {
			continue // the name is taken: by an attempt whose answer was lost, or a clone in the same millisecond
		}
		return err
	}
}
