package foreign

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// After a crash there are commits in the WAL, and SQLite takes a WAL for that of
// whatever database it lies beside. If somebody has put another file in the
// database's place, an older copy say, the two make a mixture that nobody has ever
// committed; the first checkpoint would write it into that file.

// ErrMixture says that a file was put under a WAL that belongs to another one.
var ErrMixture = errors.New("the database file is not the one that was opened")

// WALBelongs reports whether the WAL belongs to the file. It compares what the file says
// alone with what it says by way of the WAL, which c does, and with the marker. If it
// cannot be told, the error says what to do.
func (t Traces) WALBelongs(ctx context.Context, c *sqlite.Conn) (bool, error) {
	alone, id, err := inspectAlone(t.file.Path())
	switch {
	case sqlite.IsNotDatabase(err), err == nil && alone == changelog.Known && id.DatabaseID == "":
		// A checkpoint that was cut short leaves old pages and new ones: without its WAL the
		// file is no database, or lacks the id that all of ours have. It says nothing.
		alone = changelog.Fresh
	case err != nil:
		return false, err
	}
	together, sum, err := changelog.Inspect(c)
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
	if t.marked && (t.left.inode == 0 || t.left.inode == t.file.Inode()) {
		return true, nil
	}
	if t.marked && alone == changelog.Foreign {
		return false, nil // our WAL beside somebody's file
	}
	return t.provenTogether(ctx, c)
}

// WithoutWAL are the traces when the WAL has been set aside.
func (t Traces) WithoutWAL() Traces {
	t.tail = sqlite.WALTail{}
	return t
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
func (t Traces) provenTogether(ctx context.Context, c *sqlite.Conn) (bool, error) {
	stop := c.Watch(ctx)
	defer stop()
	sound, err := c.Text("PRAGMA quick_check(1)")
	if sqlite.IsNotDatabase(err) || err == nil && sound != "ok" {
		return false, nil
	}
	if err == nil {
		err = Prove(ctx, c)
	}
	switch {
	case errors.Is(err, ErrAltered):
		return false, fmt.Errorf("%w: %s is not the file that DriftDB last had open, and %s-wal does not match its log (%w). Nothing was changed. Put back the file that belongs to the -wal, or move the -wal and the -shm away to use the file as it is",
			ErrMixture, t.file.Path(), t.file.Path(), err)
	case errors.Is(err, ErrUnproven):
		return true, nil // nothing speaks against it
	}
	return err == nil, err
}
