package driftdb

import (
	"context"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/restore"
)

// View opens the database as it was at a point in the past. The result is a *DB like any
// other, but read-only: repositories, Select, ReadTx and SQL read from it, and every write
// is ErrReadOnly. Define works for tables that were there and fit; it changes nothing.
// Changes yields the changes up to the point, and Sequence is the last of them.
//
// The view is a restored copy: View reads one snapshot and the log from there to the
// point, over the network, verifies them as Restore does, and needs as much disk space as
// the database took. After that, only Changes and Backup use the network. The copy is in
// the system's folder for temporary files, in a folder that only this user can access, and
// has mode 0600. Close deletes it; if the process is killed, the user's next View, Verify
// or ":memory:" database does.
//
// BackupConfig.OnConnect registers the functions that the schema needs. Errors are those
// of Restore: a point that the backup does not have is ErrNoBackup.
func (b *Backup) View(ctx context.Context, p Point) (*DB, error) {
	at, err := p.target()
	if err != nil {
		return nil, fail(fmt.Errorf("view %s: %w", b.b.Name(), err))
	}
	db, err := engine.View(ctx, b.b, at, fail)
	if err != nil {
		return nil, fail(err)
	}
	return &DB{engine: db}, nil
}

// TablesOptions say which tables to restore from a backup.
type TablesOptions struct {
	Tables     []string // their names
	At         Point    // zero: the latest
	As         string   // the name of the copy; with one table only
	OnProgress func(Progress)
}

// TablesResult describes the tables that were restored.
type TablesResult struct {
	Sequence int64     // of the last change before the point
	Time     time.Time // of that change, by the clock of the machine that made it
	Tables   []RestoredTable
}

// RestoredTable is a table that was restored.
type RestoredTable struct {
	Name string // in the backup
	As   string // in the file
	Rows int64
}

// RestoreTables restores tables as they were at a point, beside those of today: it copies
// them into the database at path, with their rows, rowids, storage classes, indexes and
// AUTOINCREMENT counters, all in one transaction. Triggers are not copied, and foreign keys
// are not checked.
//
// A file that does not exist is created, and its tables have the same names. Into a file
// that exists, users as of change 201 is copied as users_at_201, or as As says; a table of
// that name is never overwritten. If DriftDB has opened the file before, the copy is a
// change like any other, and is uploaded after the next Open; no program may have that file
// open meanwhile (ErrLocked).
//
// It needs what View needs, besides the room for the copies. An unknown table is an error
// that lists the tables that were there.
func (b *Backup) RestoreTables(ctx context.Context, path string, o TablesOptions) (TablesResult, error) {
	at, err := o.At.target()
	if err != nil {
		return TablesResult{}, fail(fmt.Errorf("restore %s: %w", b.b.Name(), err))
	}
	tables, res, err := engine.RestoreTables(ctx, b.b, engine.Tables{
		Path: path, Names: o.Tables, As: o.As, At: at, Progress: progress(o.OnProgress), Public: fail,
	})
	if err != nil {
		return TablesResult{}, fail(err)
	}
	out := TablesResult{Sequence: res.Sequence, Time: restore.TimeOf(res.Time)}
	for _, t := range tables {
		out.Tables = append(out.Tables, RestoredTable{Name: t.Name, As: t.As, Rows: t.Rows})
	}
	return out, nil
}
