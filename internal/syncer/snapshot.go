package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/objstore"
)

// snapshotDue says whether a snapshot has to be taken now. After a barrier it
// has to. Otherwise it is worth its upload when enough entries have passed and
// the batches since the last one weigh at least half of it: then all snapshots
// together cost no more than a few times the changes, whatever the database's
// size. If none can be stored of the file as it is, a flush tries again only where
// it would be in vain without one.
func (s *Syncer) snapshotDue(flush bool) bool {
	b := s.books
	if b.BarrierOpen() {
		return flush || !s.ailment.waits()
	}
	return b.Acked-max(b.Snapshot, 0) >= s.cfg.SnapshotEvery && 2*b.BytesSince >= b.SnapshotBytes && !s.ailment.waits()
}

// snapshot fixes a state of the database, sends what the log holds up to it,
// stores the state, and lets the manifest name it.
func (s *Syncer) snapshot(ctx context.Context) (err error) {
	v, snap, err := s.picture(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if err := s.upload(ctx, snap.Sequence); err != nil {
		return err
	}
	key := func(at int64) string {
		return remote.SnapshotKey(s.cfg.Bucket.Name(), s.log.Identity().NodeID, at)
	}
	if err := s.store(ctx, v, &snap, key); err != nil {
		return fmt.Errorf("store a snapshot: %w", err)
	}
	earliest, err := s.log.Earliest(snap.Sequence, s.books.Acked)
	if err != nil {
		return err
	}
	err = s.confirm(ctx, func(m *remote.Manifest) {
		m.AddSnapshot(snap)
		m.Earliest = told(earliest)
	})
	if err != nil {
		return err
	}
	if err := s.adopt(ctx, snap.Digests, snap.Sequence); err != nil {
		return err
	}
	s.status.lastSnapshot.Store(snap.Time)
	s.event("stored a snapshot", "key", snap.Key, "sequence", snap.Sequence, "bytes", snap.Size)
	return nil
}

// picture fixes a state of the database, and describes the snapshot that it is
// going to be. Whoever gets it closes the view.
func (s *Syncer) picture(ctx context.Context) (view, remote.Snapshot, error) {
	v, snap, err := s.fix(ctx)
	return v, snap, s.examined(err)
}

func (s *Syncer) fix(ctx context.Context) (v view, snap remote.Snapshot, err error) {
	if v, snap.Sequence, err = s.view(ctx); err != nil {
		return nil, snap, err
	}
	if err := s.describe(&snap); err != nil {
		return nil, snap, errors.Join(err, v.Close())
	}
	if snap.Digests, err = s.sum(ctx, v.Conn(), snap.Sequence); err != nil {
		return nil, snap, errors.Join(fmt.Errorf("compute the digests of a snapshot: %w", err), v.Close())
	}
	return v, snap, nil
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
