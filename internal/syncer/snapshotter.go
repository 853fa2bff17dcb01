package syncer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"time"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

// snapshotter takes snapshots. It decides when one is due, and checks that the file holds
// what the log says.
type snapshotter struct {
	*state
	epoch   *epoch
	uploads *uploader

	task    *task // the running task; nil: none
	ailment ailment
}

// due reports whether a snapshot must be taken now. After a barrier it must. Otherwise it
// is worth its upload once enough entries have passed and the batches since the last
// snapshot have at least half its size: then all snapshots together cost no more than a
// few times the changes, whatever the database's size. While the file's state prevents
// snapshots, a flush tries again early only after a barrier, where it would have no
// effect without one.
//
// For callers of WaitSynced, only a snapshot after a barrier is taken. At the end of a session, an optional snapshot is taken only of a small file: there may
// be no time for a large one.
func (p *snapshotter) due(r request) bool {
	b := p.books
	if b.BarrierOpen() {
		return r.flush || !p.ailment.waits()
	}
	if r.waited {
		return false
	}
	if r.leave {
		if info, err := os.Stat(p.cfg.Path); err != nil || info.Size() > leaveSnapshot {
			return false
		}
	}
	every := p.cfg.SnapshotEvery
	return every >= 0 && b.Acked-max(b.Snapshot, 0) >= every && 2*b.BytesSince >= b.SnapshotBytes && !p.ailment.waits()
}

// underway returns the current task, or nil.
func (p *snapshotter) underway() *task { return p.task }

// needs returns the sequence up to which the log may be trimmed: name and adopt read the
// entries after the state of the task.
func (p *snapshotter) needs() int64 {
	if p.task == nil {
		return math.MaxInt64
	}
	return p.task.state.snap.Sequence
}

// leaveSnapshot is the size, in bytes, of the largest file of which an ending session
// takes an optional snapshot.
const leaveSnapshot = 8 << 20

// fixed is a state of the database, and the snapshot that is made of it.
type fixed struct {
	conn    *sqlite.Conn // in a read transaction that sees the state
	snap    remote.Snapshot
	before  earlier    // what the manifest had before it
	logged  digest.Set // the tables' digests according to the log
	differs []string   // the tables whose contents differ from that; set by sum
}

// fix pins the current state of the database, and uploads the log up to it. Afterwards
// the books describe exactly that state.
func (p *snapshotter) fix(ctx context.Context) (_ *fixed, err error) {
	f := &fixed{before: p.earlier()}
	if f.conn, f.snap.Sequence, err = p.pin(); err != nil {
		return nil, p.examined(err)
	}
	if err = p.uploads.upload(ctx, f.snap.Sequence); err == nil {
		if err = p.describe(f); err == nil {
			return f, nil
		}
		err = p.examined(err)
	}
	return nil, errors.Join(err, f.conn.Close())
}

// picture copies and sums a fixed state, so that it can be stored. It reads the whole
// database, and needs neither the token nor the log. The caller must close the source.
func (p *snapshotter) picture(ctx context.Context, f *fixed) (source, error) {
	v, err := p.source(ctx, f.conn)
	if err != nil {
		return nil, err
	}
	if err := p.sum(ctx, v.Conn(), f); err != nil {
		return nil, errors.Join(fmt.Errorf("check a snapshot: %w", err), v.Close())
	}
	if c, ok := v.(*copySource); ok {
		if err := c.wipe(); err != nil {
			return nil, errors.Join(fmt.Errorf("clear the free pages of a snapshot: %w", err), v.Close())
		}
	}
	return v, nil
}

// describe fills in the snapshot from the books, which must have acknowledged everything
// up to its sequence and no more.
func (p *snapshotter) describe(f *fixed) (err error) {
	if p.books.Acked != f.snap.Sequence {
		return fmt.Errorf("the log was uploaded up to %d, but the snapshot is of %d", p.books.Acked, f.snap.Sequence)
	}
	f.snap.Time, f.snap.Chain, f.snap.Earliest = time.Now().UnixMilli(), p.books.Chain, told(p.books.Earliest)
	f.logged = maps.Clone(p.digests.Known)
	f.snap.Changed, err = p.log.TimeAt(f.snap.Sequence)
	return err
}

// store uploads the source under an unused name, which key makes from a time.
func (p *snapshotter) store(ctx context.Context, v source, snap *remote.Snapshot, key func(at int64) string) error {
	for at := snap.Time; ; at++ {
		f, err := v.File(ctx)
		if err != nil {
			return err
		}
		err = p.cfg.Bucket.PutSnapshot(ctx, p.log.Identity().DatabaseID, key(at), f, snap)
		err = errors.Join(err, f.Close())
		if errors.Is(err, objstore.ErrPrecondition) {
			continue // the name is taken, by an attempt whose response was lost or by a clone in the same millisecond
		}
		return err
	}
}
