package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// found is what Open finds at the path before it changes anything.
type found struct {
	there   bool               // there is a file
	nothing bool               // no file, or one that holds no database content
	adopted changelog.Adopted  // whether DriftDB knows the database …
	id      changelog.Identity // … and its identity, if so
	traces  foreign.Traces     // of earlier writers, read before first was opened
}

// examine looks at what is there and changes nothing: it must be a database, and belong to
// this name. o.first stays open on it, with a lock on the file itself.
func (o *opening) examine(ctx context.Context) error {
	there, empty, err := o.file.There()
	if err != nil {
		return err
	}
	if o.found = (found{there: there, nothing: empty}); empty {
		return nil
	}
	if err := o.setAside(); err != nil {
		return err
	}
	if o.found.traces, err = o.foreign.Look(o.restored); err != nil {
		return err
	}
	if err := o.look(); err != nil {
		return notDatabase(err)
	}
	if !o.found.traces.InWAL() {
		if o.found.traces.LostWAL() {
			o.cfg.Log.Warn(event.WALLost, "the database's -wal is gone, and what was in it with it; the file is as it was before that", "path", o.path)
		}
		return notDatabase(o.inspect())
	}
	if err := o.judgeWAL(ctx); err != nil {
		return notDatabase(err)
	}
	return notDatabase(o.inspect())
}

// judgeWAL sets aside a WAL that does not belong to the file.
func (o *opening) judgeWAL(ctx context.Context) error {
	belongs, err := o.found.traces.WALBelongs(ctx, o.first)
	if err != nil || belongs {
		return err
	}
	if err := o.letGo(); err != nil {
		return err
	}
	name, err := dbfile.SetWALAside(o.path)
	if err != nil {
		return err
	}
	o.cfg.Log.Warn(event.FilesSetAside, "the database's write-ahead log belongs to another database, or to another state of this one; it was set aside",
		"path", o.path, "file", name)
	o.found.traces = o.found.traces.WithoutWAL()
	return o.look()
}

// look opens the first connection. Neither opening nor closing it changes anything.
func (o *opening) look() (err error) {
	o.first, err = sqlite.Open(o.path, sqlite.Options{
		MustExist: true, KeepJournal: true, BusyTimeout: o.cfg.BusyTimeout, Claim: o.file.Hold,
		OnConnect: o.conns.onConnect,
	})
	if err != nil {
		o.file.Forget()
		return err
	}
	if !o.found.traces.InWAL() {
		return nil
	}
	return o.first.KeepWAL(true)
}

// letGo closes the first connection.
func (o *opening) letGo() error {
	if o.first == nil {
		return nil
	}
	first := o.first
	o.first = nil
	return errors.Join(o.file.Unhold(), first.Close())
}

// inspect reads what the database records about itself.
func (o *opening) inspect() (err error) {
	if o.found.adopted, o.found.id, err = changelog.Inspect(o.first); err != nil {
		return err
	}
	if name := o.found.id.Name; name != "" && name != o.cfg.Name {
		return fmt.Errorf("the file belongs to the database %q, not to %q; restore a free copy to use it under another name", name, o.cfg.Name)
	}
	if o.found.adopted == changelog.Known {
		return errors.Join(o.isFollower(), changelog.Check(o.first))
	}
	// The page size does not count as content: a backup may take the place of such a file.
	own, err := o.first.Int("SELECT EXISTS (SELECT 1 FROM main.sqlite_schema) OR user_version <> 0 OR application_id <> 0 FROM pragma_user_version, pragma_application_id")
	if o.found.nothing = own == 0; err == nil && !o.found.nothing {
		err = o.isFollower()
	}
	return err
}

func notDatabase(err error) error {
	if sqlite.IsNotDatabase(err) {
		return fmt.Errorf("%w: it is no SQLite database, or a damaged one, and was left as it is: %w", ErrDamaged, err)
	}
	return err
}

// rehearse finds out whether a file that is new to DriftDB can be adopted: it creates
// DriftDB's tables, and rolls that back while the file still has its original journal
// mode.
//
// The new tables go into free pages, if there are any, and with auto_vacuum other pages
// move. A damaged file may list pages in use as free, and those would be overwritten; so
// the whole file is checked first. Without free pages and auto_vacuum the tables go to the
// end of the file, and only the schema must be intact.
func (o *opening) rehearse(ctx context.Context) (err error) {
	if o.found.adopted == changelog.Known {
		return nil
	}
	stop := o.first.Watch(ctx)
	defer stop()
	reuses, err := o.first.Int("SELECT (SELECT freelist_count FROM pragma_freelist_count) | (SELECT auto_vacuum FROM pragma_auto_vacuum)")
	if err != nil {
		return err
	}
	damage, err := o.first.Damage(reuses == 0)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if damage != "" {
		return fmt.Errorf("%w: the database is damaged, and was left as it is (%s); recover what can be read, with .recover of the sqlite3 tool, into a new file", ErrDamaged, damage)
	}
	spies, err := o.first.Int("SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND rootpage = 0 AND instr(lower(sql), '" + capture.Module + "')")
	if err != nil {
		return err
	}
	if spies > 0 {
		return fmt.Errorf("the database has a table of the module %s, which is DriftDB's own; drop it", capture.Module)
	}
	if err := o.first.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.first.Rollback()) }()
	if err := o.checkLength(); err != nil {
		return err
	}
	_, err = changelog.Init(o.first, o.cfg.NodeID)
	return err
}

// checkLength refuses a file that ends before its last page. SQLite reads the missing part
// as zeros, and makes that permanent when it writes the next page behind it. A WAL may be
// about to complete the file, so the check is skipped if there is one. An empty file
// passes too: SQLite leaves one if the power fails while it writes a database's first
// page, and the page that SQLite counts in it is the one that this transaction would begin
// with.
func (o *opening) checkLength() error {
	whole, err := o.first.Int("SELECT page_count * page_size FROM pragma_page_count('main'), pragma_page_size('main')")
	if err != nil || sizeOf(o.path+"-wal") > 0 {
		return err
	}
	if size := sizeOf(o.path); size > 0 && size < whole {
		return fmt.Errorf("%w: the database was cut off, and was left as it is: it has %d bytes, and its pages would have %d; recover what can be read, with .recover of the sqlite3 tool, into a new file", ErrDamaged, size, whole)
	}
	return nil
}

// setAside keeps SQLite from using files beside the database that do not belong to it.
func (o *opening) setAside() error {
	aside, err := dbfile.SetAside(o.path)
	if len(aside) > 0 {
		o.cfg.Log.Warn(event.FilesSetAside, "files beside the database did not belong to it; they were set aside", "files", aside)
	}
	return err
}
