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

// snapshotter takes snapshots: it decides when one is due, and finds out whether the file
// holds what the log says.
type snapshotter struct {
	*state
	epoch   *epoch
	uploads *uploader

	task    *task // makes a snapshot; nil: there is none
	ailment ailment
}

// due reports whether a snapshot must be taken now. After a barrier it
// has to. Otherwise it is worth its upload when enough entries have passed and
// the batches since the last one weigh at least half of it: then all snapshots
// together cost no more than a few times the changes, whatever the database's
// size. If none can be stored of the file as it is, a flush tries again only where
// it would be without effect without one.
//
// A session that ends takes one that nothing depends on of a small file only: there may
// not be the time for more.
func (p *snapshotter) due(r request) bool {
	b := p.books
	if b.BarrierOpen() {
		return r.flush || !p.ailment.waits()
	}
	if r.leave {
		if info, err := os.Stat(p.cfg.Path); err != nil || info.Size() > leaveSnapshot {
			return false
		}
	}
	every := p.cfg.SnapshotEvery
	return every >= 0 && b.Acked-max(b.Snapshot, 0) >= every && 2*b.BytesSince >= b.SnapshotBytes && !p.ailment.waits()
}

// underway is the task that makes a snapshot, or nil.
func (p *snapshotter) underway() *task { return p.task }

// needs is up to where the log may be trimmed: name and adopt read what follows a task's
// state.
func (p *snapshotter) needs() int64 {
	if p.task == nil {
		return math.MaxInt64
	}
	return p.task.state.snap.Sequence
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

// fix fixes the state that the database has now, and sends what the log holds up to it:
// then the books are those of the state, and say all that the bucket has to know of it.
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

// picture makes a fixed state one that can be stored: it copies and sums it. It reads
// all of the database, and needs neither the token nor the log. Whoever gets the source
// closes it.
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

// describe completes a state's snapshot with what is known of its sequence, up to which
// all is acknowledged.
func (p *snapshotter) describe(f *fixed) (err error) {
	if p.books.Acked != f.snap.Sequence {
		return fmt.Errorf("the log was uploaded up to %d, but the snapshot is of %d", p.books.Acked, f.snap.Sequence)
	}
	f.snap.Time, f.snap.Chain, f.snap.Earliest = time.Now().UnixMilli(), p.books.Chain, told(p.books.Earliest)
	f.logged = maps.Clone(p.digests.Known)
	f.snap.Changed, err = p.log.TimeAt(f.snap.Sequence)
	return err
}

// store uploads the source under a name of its own, which key makes from a time.
func (p *snapshotter) store(ctx context.Context, v source, snap *remote.Snapshot, key func(at int64) string) error {
	for at := snap.Time; ; at++ {
		f, err := v.File(ctx)
		if err != nil {
			return err
		}
		err = p.cfg.Bucket.PutSnapshot(ctx, p.log.Identity().DatabaseID, key(at), f, snap)
		err = errors.Join(err, f.Close())
		if errors.Is(err, objstore.ErrPrecondition) {
			continue // the name is taken: by an attempt whose answer was lost, or a clone in the same millisecond
		}
		return err
	}
}
