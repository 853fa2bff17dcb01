package resolve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
)

// keep stores the contents of c's database as a branch that leaves the bucket's history
// after at, and returns the branch's id. The branch is a snapshot: it includes what the
// log does not record, and depends on nothing that the bucket might delete earlier. The
// node id is new, so nothing else is stored under the name.
func keep(ctx context.Context, b *remote.Bucket, c *sqlite.Conn, f syncer.File, at remote.Position, epoch int64, path string) (id string, err error) {
	work, err := dbfile.NewWork(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	if err := c.Copy(ctx, work.Path(), nil); err != nil {
		return "", err
	}
	if err := strip(work.Path()); err != nil {
		return "", err
	}
	end := max(f.Last, at.Sequence+1) // changes by other programs are in no log, but are changes all the same
	branch := remote.Batch{NodeID: changelog.NewNodeID(), Epoch: epoch, From: at.Sequence + 1, To: end}
	snap := remote.Snapshot{Sequence: end, Time: time.Now().UnixMilli()}
	if snap.Chain, err = chainAt(f); err != nil {
		return "", err
	}
	if snap.Changed, err = f.Log.TimeAt(f.Last); err != nil {
		return "", err
	}
	file, err := os.Open(work.Path()) // bypassing SQLite's locks is safe: no one else knows this file
	if err != nil {
		return "", err
	}
	err = b.PutSnapshot(ctx, f.Identity.DatabaseID, remote.BranchSnapshotKey(b.Name(), branch, snap.Time), file, &snap)
	if err := errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	if err := b.PutBranch(ctx, f.Identity.DatabaseID, branch, snap); err != nil {
		return "", err
	}
	return remote.Branch{NodeID: branch.NodeID, Epoch: branch.Epoch}.ID(), nil
}

// chainAt returns the chain at the end of the file's log.
func chainAt(f syncer.File) (batch.Chain, error) {
	if f.Books.Acked >= f.Last {
		return f.Books.Chain, nil
	}
	return f.Log.ChainAt(f.Books.Acked, f.Books.Chain, f.Last)
}

// strip makes a copy of the live file an independent database without our tables. A crash
// may corrupt the copy; no one needs it then.
func strip(path string) (err error) {
	c, err := sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncOff})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Exec("PRAGMA journal_mode=DELETE; PRAGMA journal_mode=OFF"); err != nil {
		return err
	}
	if err := changelog.Strip(c); err != nil {
		return fmt.Errorf("remove DriftDB's tables from the copy: %w", err)
	}
	return nil
}
