package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

// snapshotDue says whether a snapshot has to be taken now. After a barrier it
// has to. Otherwise it is worth its upload when enough entries have passed and
// the batches since the last one weigh at least half of it: then all snapshots
// together cost no more than a few times the changes, whatever the database's
// size.
func (s *Syncer) snapshotDue() bool {
	b := s.books
	if b.BarrierOpen() {
		return true
	}
	return b.Acked-max(b.Snapshot, 0) >= s.cfg.SnapshotEvery && 2*b.BytesSince >= b.SnapshotBytes
}

// CopySuffix marks the local copies that snapshots are made from. One that a
// crash has left beside the database is of no use.
const CopySuffix = "-driftdb-snapshot"

// snapshot copies the database to a file beside it, sends what the log holds
// up to the copy's state, stores the copy, and lets the manifest name it.
func (s *Syncer) snapshot(ctx context.Context) error {
	dir, err := os.MkdirTemp(filepath.Dir(s.cfg.Path), filepath.Base(s.cfg.Path)+CopySuffix)
	if err != nil {
		return fmt.Errorf("make room for a snapshot: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "copy.sqlite")
	snap := remote.Snapshot{Time: time.Now().UnixMilli()}
	if snap.Sequence, err = s.copy(ctx, file); err != nil {
		return fmt.Errorf("copy the database for a snapshot (it needs as much free space as the database in %s): %w", filepath.Dir(s.cfg.Path), err)
	}
	if snap.Chain, err = s.log.ChainAt(s.books.Acked, s.books.Chain, max(snap.Sequence, s.books.Acked)); err != nil {
		return err
	}
	if err := s.upload(ctx, snap.Sequence); err != nil {
		return err
	}
	if err := s.store(ctx, file, &snap); err != nil {
		return fmt.Errorf("store a snapshot: %w", err)
	}
	if err := s.confirm(ctx, func(m *remote.Manifest) { m.AddSnapshot(snap) }); err != nil {
		return err
	}
	s.status.lastSnapshot.Store(snap.Time)
	s.event("stored a snapshot", "key", snap.Key, "sequence", snap.Sequence, "bytes", snap.Size)
	return nil
}

// copy writes the database as it is now, without our tables, to file, and
// returns the sequence of the last change in it.
func (s *Syncer) copy(ctx context.Context, file string) (sequence int64, err error) {
	c, err := s.cfg.Reader()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Exec("BEGIN"); err != nil {
		return 0, err
	}
	if sequence, err = changelog.Last(c); err != nil { // opens the view that is copied
		return 0, err
	}
	if err := c.Copy(ctx, file, nil); err != nil {
		return 0, err
	}
	if err := c.Exec("COMMIT"); err != nil {
		return 0, err
	}
	out, err := new(sqlite.Driver).Open(file, sqlite.Options{MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncOff})
	if err != nil {
		return 0, err
	}
	// A copy of a WAL database says that it is one. What is stored is a file
	// on its own.
	err = out.Exec("PRAGMA journal_mode=DELETE")
	if err == nil {
		err = changelog.Strip(out)
	}
	return sequence, errors.Join(err, out.Close())
}

// store uploads the copy under a name of its own.
func (s *Syncer) store(ctx context.Context, file string, snap *remote.Snapshot) error {
	id := s.log.Identity()
	for at := snap.Time; ; at++ {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		key := remote.SnapshotKey(s.cfg.Bucket.Name(), id.NodeID, at)
		err = s.cfg.Bucket.PutSnapshot(ctx, id.DatabaseID, key, f, snap)
		err = errors.Join(err, f.Close())
		if errors.Is(err, objstore.ErrPrecondition) {
			continue // the name is taken: by an attempt whose answer was lost, or a clone in the same millisecond
		}
		return err
	}
}
