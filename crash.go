package driftdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
)

// After a crash there are commits in the WAL, and SQLite takes a WAL for that of
// whatever database it lies beside. If somebody has put another file in the
// database's place, an older copy say, the two make a mixture that nobody has ever
// committed; the first checkpoint would write it into that file.

// judgeWAL sets a WAL aside that does not belong to the file. If it cannot be told,
// the error says what to do, and nothing is changed.
func (db *DB) judgeWAL(ctx context.Context) error {
	belongs, err := db.walBelongs(ctx)
	if err != nil || belongs {
		return err
	}
	if err := db.letGo(); err != nil {
		return err
	}
	name, err := dbfile.SetWALAside(db.path)
	if err != nil {
		return err
	}
	db.log.Warn(event.FilesSetAside, "the database's write-ahead log belongs to another database, or to another state of this one; it was set aside",
		"path", db.path, "file", name)
	db.found.tail = sqlite.WALTail{}
	return db.look()
}

// walBelongs compares what the file says alone with what it says by way of the
// WAL, and with what we have noted of it.
func (db *DB) walBelongs(ctx context.Context) (bool, error) {
	alone, id, err := inspectAlone(db.path)
	if sqlite.IsNotDatabase(err) {
		alone = changelog.Fresh // a checkpoint that was cut short: it says nothing without its WAL
	} else if err != nil {
		return false, err
	}
	together, sum, err := changelog.Inspect(db.first)
	if sqlite.IsNotDatabase(err) {
		return false, nil
	}
	if err != nil || together != changelog.Known {
		// If the file was ours, it has become somebody else's by way of the WAL.
		return alone != changelog.Known, err
	}
	if alone == changelog.Known && id.DatabaseID != sum.DatabaseID {
		return false, nil
	}
	left, noted := readNote(db.file)
	if noted && (left.inode == 0 || left.inode == db.file.Inode()) {
		return true, nil
	}
	if noted && alone == changelog.Foreign {
		return false, nil // our WAL beside somebody's file
	}
	return db.provenTogether(ctx)
}

// inspectAlone is changelog.Inspect of what the file holds without its WAL.
func inspectAlone(path string) (_ changelog.Adopted, _ changelog.Identity, err error) {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{Immutable: true})
	if err != nil {
		return 0, changelog.Identity{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return changelog.Inspect(c)
}

// provenTogether reads all of a database of which it is not known that it is the
// one that we had open: copied, or moved here from another disk.
func (db *DB) provenTogether(ctx context.Context) (bool, error) {
	stop := db.first.Watch(ctx)
	defer stop()
	sound, err := db.first.Text("PRAGMA quick_check(1)")
	if sqlite.IsNotDatabase(err) || err == nil && sound != "ok" {
		return false, nil
	}
	if err == nil {
		err = syncer.Prove(ctx, db.first)
	}
	switch {
	case errors.Is(err, syncer.ErrAltered):
		return false, fmt.Errorf("%w: %s is not the file that DriftDB had open when it ended, and what is in %s-wal does not lead to what its log says (%w). Nothing was changed. Put the file back that belongs to the -wal, or move the -wal and the -shm away to go on with the file as it is",
			ErrFileReplaced, db.path, db.path, err)
	case errors.Is(err, syncer.ErrUnproven):
		return true, nil // nothing speaks against it
	}
	return err == nil, err
}
