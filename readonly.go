package driftdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// openedToRead is the error of what would write to a database that was opened with
// Config.ReadOnly. It is also ErrReadOnly.
type openedToRead struct{}

func (openedToRead) Error() string {
	return "driftdb: the database was opened with ReadOnly: to write, open it without"
}

func (openedToRead) Is(target error) bool { return target == ErrReadOnly }

// openReadOnly opens a database without the right to write it. It takes no lock, so a
// writer may have it open, and makes no table, no note and no engine.
func (db *DB) openReadOnly(ctx context.Context) error {
	if db.cfg.Path == memory {
		return errors.New("ReadOnly needs a file: nobody else can write \":memory:\"")
	}
	var err error
	if db.path, err = dbfile.Resolve(db.cfg.Path); err != nil {
		return err
	}
	if err := db.refresh(ctx); err != nil {
		return err
	}
	db.hub = capture.NewHub(0, 0, nil)
	db.captured = capture.NewConnector(nil, nil, nil)
	db.readers = sqlite.NewPool(db.cfg.MaxReaders, max(8, runtime.GOMAXPROCS(0)), db.openToRead)
	db.sql = sql.OpenDB(readConnector{db})
	db.sql.SetConnMaxIdleTime(time.Minute)
	return db.identifyReader(ctx)
}

// openToRead opens a connection of a database that was opened with ReadOnly.
func (db *DB) openToRead() (*sqlite.Conn, error) {
	c, err := sqlite.Open(db.path, sqlite.Options{
		BusyTimeout: db.cfg.BusyTimeout, Cache: db.cache, CacheKiB: int(db.cfg.CacheBytes >> 13),
		MustExist: true, ReadOnly: true, QueryOnly: true, KeepJournal: true, OnConnect: db.onConnect,
	})
	_, missing := os.Stat(db.path)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(missing, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist, and ReadOnly makes no file: %w", db.path, fs.ErrNotExist)
	case sqlite.Code(err)&0xff == lib.SQLITE_CANTOPEN:
		return nil, fmt.Errorf("%w: to read a database that a writer has left in WAL mode, SQLite needs a -wal and a -shm beside it, which it cannot make here; copy the file to a folder that may be written", err)
	}
	return nil, err
}

// identifyReader reads what the file says of itself: nothing, if DriftDB has never
// written it.
func (db *DB) identifyReader(ctx context.Context) error {
	l, err := db.readers.Get(ctx)
	if err != nil {
		return err
	}
	defer db.readers.Put(l, errReadDone)
	known, err := changelog.Exists(l.Conn)
	if err != nil || !known {
		return notDatabase(err)
	}
	if err := changelog.CheckFormat(l.Conn); err != nil {
		return err
	}
	if db.id, err = changelog.ReadIdentity(l.Conn); err == nil && db.id.Name != "" && db.id.Name != db.cfg.Name {
		err = fmt.Errorf("%s belongs to the database %q, not to %q", db.path, db.id.Name, db.cfg.Name)
	}
	return err
}

// refresh fetches the file from the bucket if it is missing, and brings it up to date
// if it is behind, as an Open does that may write; but it sends nothing, and takes
// nothing over. A file that cannot be refreshed now, because somebody writes it, or the
// bucket does not answer, or the two have diverged, is read as it is.
func (db *DB) refresh(ctx context.Context) error {
	if !db.cfg.AutoRestore {
		return nil
	}
	_, err := os.Stat(db.path)
	missing := errors.Is(err, fs.ErrNotExist)
	if !missing {
		if known, err := db.known(); err != nil || !known {
			return err
		}
	}
	cfg := db.cfg
	cfg.ReadOnly, cfg.CloseTimeout, cfg.RefuseTakeover, cfg.ManualSync = false, -1, false, false
	w := newDB(ctx, cfg)
	w.passive = true
	err = w.opened(ctx)
	if err == nil {
		err = w.Close()
	}
	if err != nil && !missing && ctx.Err() == nil {
		db.log.Warn("the file could not be brought up to date with its bucket; it is read as it is", "scope", "open", "path", db.path, "error", err)
		return nil
	}
	return err
}

// known says whether the file is one of DriftDB's.
func (db *DB) known() (known bool, err error) {
	c, err := db.openToRead()
	if err != nil {
		return false, err
	}
	known, err = changelog.Exists(c)
	return known, errors.Join(err, c.Close())
}

// readSequence is the last sequence in a file that somebody else may be writing.
func (db *DB) readSequence() (last int64) {
	if db.id.DatabaseID == "" {
		return 0
	}
	_ = db.conn().read(context.Background(), "SELECT max(sequence + count - 1) FROM main._driftdb_log", func(st *sqlite.Stmt) error {
		return st.Each(func(st *sqlite.Stmt) error { last = st.Int64(0); return nil })
	})
	return last
}

// closeReader closes a database that was opened with ReadOnly.
func (db *DB) closeReader() error {
	close(db.closed)
	if db.readers == nil {
		return nil
	}
	db.readers.Shut(ErrClosed)
	return errors.Join(db.sql.Close(), db.readers.Close(time.Now().Add(closeGrace)))
}

// readConnector opens connections that only read, for database/sql.
type readConnector struct{ db *DB }

func (k readConnector) Connect(context.Context) (driver.Conn, error) {
	if k.db.isClosed() {
		return nil, ErrClosed
	}
	c, err := k.db.openToRead()
	if err != nil {
		return nil, export(err)
	}
	return readConn{c.Driver, c}, nil
}

func (k readConnector) Driver() driver.Driver { return k }

// Open is for callers of Driver; the name is not looked at.
func (k readConnector) Open(string) (driver.Conn, error) { return k.Connect(context.Background()) }

// readConn is one of them.
type readConn struct {
	sqlite.DriverConn
	c *sqlite.Conn
}

func (r readConn) Close() error { return r.c.Close() }

func (r readConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := r.DriverConn.ExecContext(ctx, query, args)
	return res, readingOnly(err)
}

func (r readConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := r.DriverConn.QueryContext(ctx, query, args)
	return rows, readingOnly(err)
}

// BeginTx starts a transaction that takes no lock.
func (r readConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	opts.ReadOnly = true
	tx, err := r.DriverConn.BeginTx(ctx, opts)
	return tx, readingOnly(err)
}

// readingOnly says what SQLite's refusal of a write means here.
func readingOnly(err error) error {
	if sqlite.Code(err)&0xff == lib.SQLITE_READONLY {
		return fmt.Errorf("%w (%w)", openedToRead{}, err)
	}
	return err
}
