package foreign

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// After a crash there are commits in the WAL, and SQLite takes a WAL to belong to whatever
// database it lies beside. If another file was put in the database's place, an older copy say,
// the two make a mixture that was never committed; the first checkpoint would write it into
// that file.

// ErrMixture means that a file was put under a WAL that belongs to another one.
var ErrMixture = errors.New("the database file is not the one that was opened")

// WALBelongs reports whether the WAL belongs to the file. It compares the file alone with the
// file seen through the WAL, which c reads, and with the marker. If that is undecided, the
// error says what to do.
func (t Traces) WALBelongs(ctx context.Context, c *sqlite.Conn) (bool, error) {
	alone, id, err := inspectAlone(t.file.Path())
	switch {
	case sqlite.IsNotDatabase(err), err == nil && alone == changelog.Known && id.DatabaseID == "":
		// An interrupted checkpoint leaves a mix of old and new pages: without its WAL the
		// file is not a database, or lacks the id that all of ours have. So the file alone
		// proves nothing.
		alone = changelog.Fresh
	case err != nil:
		return false, err
	}
	together, sum, err := changelog.Inspect(c)
	if sqlite.IsNotDatabase(err) {
		return false, nil
	}
	if err != nil || together != changelog.Known {
		// If the file alone was ours, the WAL has turned it into another program's.
		return alone != changelog.Known, err
	}
	if alone == changelog.Known && id.DatabaseID != sum.DatabaseID {
		return false, nil
	}
	if t.marked && (t.left.inode == 0 || t.left.inode == t.file.Inode()) {
		return true, nil
	}
	if t.marked && alone == changelog.Foreign {
		return false, nil // our WAL beside another program's file
	}
	return t.provenTogether(ctx, c)
}

// WithoutWAL returns the traces as they are once the WAL has been set aside.
func (t Traces) WithoutWAL() Traces {
	t.tail = sqlite.WALTail{}
	return t
}

// inspectAlone is changelog.Inspect for what the file holds without its WAL.
func inspectAlone(path string) (_ changelog.Adopted, _ changelog.Identity, err error) {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{Immutable: true})
	if err != nil {
		return 0, changelog.Identity{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return changelog.Inspect(c)
}

// provenTogether reads all of a database that may not be the one that we had open: it was
// copied, or moved here from another disk.
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
		return true, nil // no evidence against it
	}
	return err == nil, err
}
