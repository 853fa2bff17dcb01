package driftdb

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// restoreMissing gets the database from the bucket if there is none here.
func (db *DB) restoreMissing(ctx context.Context) error {
	if !db.found.nothing {
		return db.catchUp(ctx)
	}
	if !db.cfg.AutoRestore {
		return nil
	}
	if err := db.letGo(); err != nil {
		return err
	}
	db.log.Info("restoring", "scope", "restore", "path", db.path, "name", db.cfg.Name)
	err := db.restore(ctx, db.cfg.NodeID)
	if errors.Is(err, remote.ErrNoBackup) {
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
	res, err := restore.Run(ctx, db.bucket, restore.Options{File: db.file, Overwrite: db.found.there,
		Finish: func(c *sqlite.Conn, m *remote.Manifest, at remote.Position, last int64, sums digest.Set) error {
			b := changelog.Books{Acked: at.Sequence, Chain: at.Chain, Confirmed: min(at.Sequence, m.LatestSequence), Snapshot: -1}
			if n := len(m.Snapshots); n > 0 {
				b.Snapshot, b.SnapshotBytes = m.Snapshots[n-1].Sequence, m.Snapshots[n-1].Size
			}
			return changelog.Continue(c, changelog.Identity{DatabaseID: m.DatabaseID, Name: m.Name, NodeID: node}, b, last, sums)
		}})
	if err != nil {
		return fmt.Errorf("restore %s: %w", db.cfg.Name, err)
	}
	if len(res.Damaged) > 0 {
		db.log.Warn("snapshots in the bucket are damaged; an older one, or the log, made up for them; a new one is needed", "scope", "restore", "damaged", res.Damaged)
	}
	if len(res.Aside) > 0 {
		db.log.Warn("files beside the database did not belong to it; they were set aside", "scope", "restore", "files", res.Aside)
	}
	db.restored = true
	db.log.Info("restored", "scope", "restore", "sequence", res.Sequence, "rows", res.Rows, "bytes", res.Bytes)
	return nil
}

// catchUp brings a file up to date that the bucket is ahead of, if nothing in it
// is missing there: it was left as it should, all of its changes have been
// sent, and the bucket's history goes on from them. In every other case the file
// stays as it is, and is compared with the bucket when it is open.
func (db *DB) catchUp(ctx context.Context) error {
	if db.bucket == nil || db.cfg.ManualSync || !db.leftClean() {
		return nil
	}
	id, at, sent, err := lookAt(db.path)
	if err != nil || !sent {
		return nil // Open will find out what is wrong with it
	}
	bounded, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	m, err := db.direct.Manifest(bounded)
	if err != nil || m.DatabaseID != id.DatabaseID || m.LatestSequence <= at.Sequence {
		return ctx.Err()
	}
	if _, err := db.bucket.Walk(ctx, m.Manifest, at, remote.Target{}, nil); err != nil {
		return ctx.Err()
	}
	node := db.cfg.NodeID
	if node == "" {
		node = id.NodeID
	}
	db.log.Info("the bucket is ahead of the file, which has nothing of its own; bringing it up to date", "scope", "restore", "path", db.path, "from", at.Sequence, "to", m.LatestSequence)
	if err := db.letGo(); err != nil {
		return err
	}
	if err := db.restore(ctx, node); err != nil {
		return fmt.Errorf("bring the file up to date: %w", err)
	}
	return db.examine(ctx)
}

// leftClean says whether the file is exactly as this program has left it, with
// nothing in a WAL.
func (db *DB) leftClean() bool {
	left, noted := readNote(db.file.LockPath())
	now, err := stat(db.path)
	if err != nil || !noted || now != left.file {
		return false
	}
	info, err := os.Stat(db.path + "-wal")
	return err != nil || info.Size() == 0
}

// lookAt reads whose file this is, how much of its history the bucket has, and
// whether that is all of it.
func lookAt(path string) (id changelog.Identity, at remote.Position, sent bool, err error) {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true, QueryOnly: true})
	if err != nil {
		return id, at, false, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if id, err = changelog.ReadIdentity(c); err != nil {
		return id, at, false, err
	}
	books, err := changelog.View(c).Books()
	if err != nil {
		return id, at, false, err
	}
	last, err := changelog.Last(c)
	return id, remote.Position{Sequence: books.Acked, Chain: books.Chain}, last == books.Acked, err
}
