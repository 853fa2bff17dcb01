package driftdb

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// DB is an open database. Many goroutines can call its methods at the same time.
type DB struct {
	cfg  Config
	path string
	log  event.Log
	id   changelog.Identity

	file    *dbfile.File   // nil, as the two below: it is only read
	foreign *foreign.Watch // whether anybody else writes it
	hub     *capture.Shared

	gate   *writer.Gate
	writer *writer.Writer
	conns  connections
	engine engine

	definitions definitions
}

// takeOver takes the database over from another node that may be writing. It waits for
// the bucket as long as Open does.
func (db *DB) takeOver(ctx context.Context) error {
	return db.engine.sync.TakeOver(ctx, checkTimeout)
}

// exclusive runs fn, which makes a commit of our own to the log, while the writer
// stands back. The wait for another program's lock ends with ctx.
func (db *DB) exclusive(ctx context.Context, fn func() error) error {
	release, err := db.writer.StandBack(ctx)
	if err != nil {
		return err
	}
	defer release()
	stop := db.engine.logs.Watch(ctx)
	defer stop()
	return db.gate.Explain(ctx, fn())
}

// Exec runs a script of one or more statements on the writer. Each statement gets all of
// args. A bool is bound as 0 or 1 and a time.Time as Unix milliseconds, the way
// repositories store them. Exec does not use the network.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	values, err := named(args)
	if err != nil {
		return nil, fail(err)
	}
	res, err := db.writer.Exec(ctx, query, values)
	if err != nil {
		return nil, fail(err)
	}
	return res, nil
}

// SQL returns the database for use with database/sql and everything built on it. All its
// connections can write, and everything they commit is captured. Do not Close it: it is
// closed with the database, see [DB.Close].
//
// A transaction takes the write lock when it begins, and waits for it up to
// Config.BusyTimeout, so what it has read is still true when it writes. A transaction
// with sql.TxOptions{ReadOnly: true} takes no lock and never waits.
//
// Values are bound and read the way the driver modernc.org/sqlite does. A time.Time is
// stored as text that SQLite's date functions understand, such as "2006-01-02
// 15:04:05.999999999-07:00", not as Unix milliseconds as in a repository. It is read back
// as a time.Time from columns declared DATE, DATETIME or TIMESTAMP. SQLite compares it as
// text: store all times in one zone, preferably UTC.
func (db *DB) SQL() *sql.DB { return db.conns.sql }

// openCaptured opens a captured connection for SQL.
func (db *DB) openCaptured() (*capture.Conn, error) {
	c, err := capture.Open(db.path, db.options(), db.hub)
	if err != nil {
		return nil, db.file.Explain(err)
	}
	return c, nil
}

// NodeID returns the ID under which this copy writes to the bucket.
func (db *DB) NodeID() string { return db.id.NodeID }

// Sequence returns the number of the last committed change.
func (db *DB) Sequence() int64 {
	if db.cfg.ReadOnly {
		return db.readSequence()
	}
	return db.hub.Sequence()
}

// IntegrityCheck has SQLite check the whole file, and returns ErrCorrupt if it is
// damaged. It reads the whole file from disk, so a large file takes long.
func (db *DB) IntegrityCheck(ctx context.Context) error {
	var wrong []string
	err := db.conn().read(ctx, "PRAGMA integrity_check(10)", func(st *sqlite.Stmt) error {
		return st.Each(func(st *sqlite.Stmt) error {
			if s := st.Text(0); s != "ok" {
				wrong = append(wrong, s)
			}
			return nil
		})
	})
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%w: %s: %s", ErrCorrupt, db.path, strings.Join(wrong, "; "))
	}
	return fail(err)
}

// Vacuum rebuilds the file without its free pages. It needs as much free disk space as
// the database takes. The log cannot describe it, so a snapshot follows.
func (db *DB) Vacuum(ctx context.Context) error {
	_, err := db.Exec(ctx, "VACUUM")
	return err
}

// size is the number of bytes that the database has on disk.
func (db *DB) size() int64 { return sizeOf(db.path) + sizeOf(db.path+"-wal") }

// sizeOf is the size of a file; of one that is not there, 0. Stat, unlike open,
// leaves SQLite's locks alone.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
