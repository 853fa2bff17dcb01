package restore

import (
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Detach makes the database at path an independent copy, like one that Run writes.
func Detach(path string) (err error) {
	file, err := dbfile.Take(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Abandon()) }()
	if _, err := dbfile.SetAside(file.Path()); err != nil {
		return err
	}
	c, err := new(sqlite.Driver).Open(file.Path(), sqlite.Options{MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncFull, Claim: file.Hold})
	if err != nil {
		file.Forget()
		return file.Explain(err)
	}
	defer func() { err = errors.Join(err, file.Unhold(), c.Close()) }()
	// First remove the WAL for good. Otherwise it would hold the change that makes our
	// file an independent one, and if this ended half-way the WAL would be taken for
	// another database's.
	if err := rollbackMode(c); err != nil {
		return fmt.Errorf("detach %s: %w", file.Path(), err)
	}
	if err := changelog.Strip(c); err != nil {
		return fmt.Errorf("detach %s: %w", file.Path(), err)
	}
	return nil
}

// rollbackMode checkpoints c's WAL into the file and removes it.
func rollbackMode(c *sqlite.Conn) error {
	mode, err := c.Text("PRAGMA journal_mode=DELETE")
	if sqlite.IsBusy(err) || err == nil && mode != "delete" {
		return fmt.Errorf("%w: another program has it open; its write-ahead log cannot be removed before that program closes it", dbfile.ErrLocked)
	}
	return err
}
