package driftdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
)

// restoreMissing gets the database from the bucket if there is none here.
func (db *DB) restoreMissing(ctx context.Context) error {
	if db.refreshing && !db.found.nothing && db.found.adopted != changelog.Known {
		return errors.New("the file has not been opened with DriftDB before, so it cannot be compared with the bucket")
	}
	if !db.found.nothing || !db.cfg.AutoRestore {
		return nil
	}
	if err := db.letGo(); err != nil {
		return err
	}
	db.log.Info("restoring", "scope", "restore", "path", db.path, "name", db.cfg.Name)
	err := db.restore(ctx, db.cfg.NodeID)
	if errors.Is(err, remote.ErrNoBackup) && !db.refreshing {
		db.log.Info("nothing to restore, starting a new database", "scope", "restore", "name", db.cfg.Name)
		return nil
	}
	if err != nil {
		return err
	}
	return db.examine(ctx)
}

// restore replaces the file, if there is one, by what the bucket has.
func (db *DB) restore(ctx context.Context, node string) error {
	res, err := restore.Run(ctx, db.bucket, restore.Options{File: db.file, Overwrite: db.found.there, OnConnect: db.onConnect,
		Finish: func(c *sqlite.Conn, m *remote.Manifest, at remote.Position, last int64, sums digest.Set) error {
			b := changelog.Books{Acked: at.Sequence, Chain: at.Chain, Confirmed: min(at.Sequence, m.LatestSequence), Snapshot: -1, Synced: 1}
			if n := len(m.Snapshots); n > 0 {
				b.Snapshot, b.SnapshotBytes = m.Snapshots[n-1].Sequence, m.Snapshots[n-1].Size
			}
			return changelog.Continue(c, changelog.Identity{DatabaseID: m.DatabaseID, Name: m.Name, NodeID: node}, b, last, sums)
		}})
	if err != nil {
		return fmt.Errorf("restore %s: %w", db.cfg.Name, err)
	}
	res.Log(db.log)
	db.restored = true
	db.log.Info("restored", "scope", "restore", "sequence", res.Sequence, "rows", res.Rows, "bytes", res.Bytes)
	return nil
}

// maxRestores is how often Open restores a file because others, who were faster,
// have left it behind.
const maxRestores = 5

// outdated says that Open failed with a file that the bucket is ahead of, which has
// nothing of its own: the log cannot bring it up to date, or it was restored just
// now, and another writer has taken over from before that.
func (db *DB) outdated(err error) bool {
	return errors.Is(err, restore.ErrCannotCatchUp) || db.restored && errors.Is(err, syncer.ErrDiverged)
}

// startAnew replaces such a file by what the bucket has, and starts with that.
func (db *DB) startAnew(ctx context.Context, cause error) error {
	node := db.cfg.NodeID
	if node == "" {
		node = db.found.id.NodeID
	}
	if err := db.disconnect(); err != nil {
		return err
	}
	db.log.Info("the bucket is ahead of the file, which has nothing of its own; restoring it", "scope", "restore", "path", db.path, "reason", cause)
	if err := db.restore(ctx, node); err != nil {
		return fmt.Errorf("bring the file up to date: %w", err)
	}
	return db.start(ctx)
}
