package driftdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// found is what Open finds in the file's place before it changes anything.
type found struct {
	there   bool               // a file
	nothing bool               // in it that anybody has put into a database
	adopted changelog.Adopted  // what the database is to us …
	id      changelog.Identity // … and whose it is, if it is ours
	tail    sqlite.WALTail     // of the WAL, before the first connection was opened
}

// examine looks at what is there and changes nothing: it has to be a database,
// and to belong to this name. db.first stays open to it, with a lock on the file
// itself.
func (db *DB) examine(ctx context.Context) error {
	there, empty, err := db.file.There()
	if err != nil {
		return err
	}
	if db.found = (found{there: there, nothing: empty}); empty {
		return nil
	}
	if err := db.setAside(); err != nil {
		return err
	}
	if db.found.tail, err = sqlite.ReadWAL(db.path); err != nil {
		return err
	}
	if err := db.look(); err != nil {
		return notDatabase(err)
	}
	if len(db.found.tail.Pages) == 0 {
		if db.lostWAL() {
			db.log.Warn(event.WALLost, "the database's -wal is gone, and what was in it with it; the file is as it was before that", "path", db.path)
		}
		return notDatabase(db.inspect())
	}
	if err := db.judgeWAL(ctx); err != nil {
		return notDatabase(err)
	}
	return notDatabase(db.inspect())
}

// look opens the first connection. It changes nothing, also when it is closed
// again.
func (db *DB) look() (err error) {
	db.first, err = sqlite.Open(db.path, sqlite.Options{
		MustExist: true, KeepJournal: true, BusyTimeout: db.cfg.BusyTimeout, Claim: db.file.Hold,
		OnConnect: db.onConnect,
	})
	if err != nil {
		db.file.Forget()
		return err
	}
	if len(db.found.tail.Pages) == 0 {
		return nil
	}
	return db.first.KeepWAL(true)
}

// letGo closes the first connection.
func (db *DB) letGo() error {
	if db.first == nil {
		return nil
	}
	first := db.first
	db.first = nil
	return errors.Join(db.file.Unhold(), first.Close())
}

// inspect reads what the database says of itself.
func (db *DB) inspect() (err error) {
	if db.found.adopted, db.found.id, err = changelog.Inspect(db.first); err != nil {
		return err
	}
	if name := db.found.id.Name; name != "" && name != db.cfg.Name {
		return fmt.Errorf("the file belongs to the database %q, not to %q; restore a free copy to use it under another name", name, db.cfg.Name)
	}
	if db.found.adopted == changelog.Known {
		return changelog.Check(db.first)
	}
	// Its page size says nothing: a backup may take the place of such a file.
	own, err := db.first.Int("SELECT EXISTS (SELECT 1 FROM main.sqlite_schema) OR user_version <> 0 OR application_id <> 0 FROM pragma_user_version, pragma_application_id")
	db.found.nothing = own == 0
	return err
}

func notDatabase(err error) error {
	if sqlite.IsNotDatabase(err) {
		return fmt.Errorf("%w: it is no SQLite database, or a damaged one, and was left as it is: %w", ErrCorrupt, err)
	}
	return err
}

// rehearse finds out whether a file that is new to DriftDB can be adopted: it makes
// our tables, and rolls that back while the file still has the journal mode that it
// came with.
//
// Our tables go into free pages, if it has any, and with auto_vacuum other pages are
// moved. What a damaged file says of these cannot be believed, and pages that are in
// use would be overwritten; so all of it is looked through first. Without either our
// tables go to the file's end, and only the schema has to be whole.
func (db *DB) rehearse(ctx context.Context) (err error) {
	if db.found.adopted == changelog.Known {
		return nil
	}
	stop := db.first.Watch(ctx)
	defer stop()
	reuses, err := db.first.Int("SELECT (SELECT freelist_count FROM pragma_freelist_count) | (SELECT auto_vacuum FROM pragma_auto_vacuum)")
	if err != nil {
		return err
	}
	damage, err := db.first.Damage(reuses == 0)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if damage != "" {
		return fmt.Errorf("%w: the database is damaged, and was left as it is (%s); recover what can be read, with .recover of the sqlite3 tool, into a new file", ErrCorrupt, damage)
	}
	spies, err := db.first.Int("SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND rootpage = 0 AND instr(lower(sql), '" + capture.Module + "')")
	if err != nil {
		return err
	}
	if spies > 0 {
		return fmt.Errorf("the database has a table of the module %s, which is DriftDB's own; drop it", capture.Module)
	}
	if err := db.first.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.first.Rollback()) }()
	if err := db.checkLength(); err != nil {
		return err
	}
	_, err = changelog.Init(db.first, db.cfg.NodeID)
	return err
}

// checkLength refuses a file that ends before its last page does. SQLite reads the rest as
// zeros, and the next page that is written behind it makes that so for good. Only a WAL may
// be about to complete it.
func (db *DB) checkLength() error {
	whole, err := db.first.Int("SELECT page_count * page_size FROM pragma_page_count('main'), pragma_page_size('main')")
	if err != nil || sizeOf(db.path+"-wal") > 0 {
		return err
	}
	if size := sizeOf(db.path); size < whole {
		return fmt.Errorf("%w: the database was cut off, and was left as it is: it has %d bytes, and its pages would have %d; recover what can be read, with .recover of the sqlite3 tool, into a new file", ErrCorrupt, size, whole)
	}
	return nil
}

// setAside keeps SQLite from taking what lies beside the file for the file's own.
func (db *DB) setAside() error {
	aside, err := dbfile.SetAside(db.path)
	if len(aside) > 0 {
		db.log.Warn(event.FilesSetAside, "files beside the database did not belong to it; they were set aside", "files", aside)
	}
	return err
}
