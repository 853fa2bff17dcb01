package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/readsql"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// A database opened with Config.ReadOnly is a pool of read-only connections and nothing
// else: no lock, writer, sync or watch. SQLite itself lets them work beside the writer.
// Whatever would write is refused, by writer.None and by syncable.

// openReadOnly opens the file for reading only.
func (o *opening) openReadOnly(ctx context.Context) (*DB, error) {
	err := o.refresh(ctx)
	if err == nil {
		err = o.openBucket(ctx) // for Changes and Backup
	}
	if err == nil {
		err = o.openReaders()
	}
	if err != nil {
		return nil, fmt.Errorf("open %s for reading: %w", o.cfg.Path, err)
	}
	return o.DB, nil
}

// refusal is why the database, which only reads, refuses a write.
func (db *DB) refusal() error {
	switch {
	case db.following != nil:
		return ErrFollows
	case db.file != nil:
		return ErrView
	}
	return ErrOpenedReadOnly
}

// onlyReads reports whether the program may only read the database.
func (db *DB) onlyReads() bool { return db.cfg.ReadOnly || db.following != nil }

// refresh fetches the file, or brings it up to date, if that is configured and possible.
// It opens the same file without starting to send and without writing a change of its own,
// so it takes no epoch.
func (o *opening) refresh(ctx context.Context) error {
	if !o.cfg.AutoRestore {
		return nil
	}
	cfg := o.cfg
	cfg.ReadOnly, cfg.ManualSync, cfg.CloseTimeout, cfg.RefuseTakeover, cfg.LockWait = false, false, -1, false, 0
	with, err := (&opening{DB: newDB(ctx, cfg), refreshing: true}).open(ctx)
	if err == nil {
		err = with.Close()
	}
	if err == nil {
		return nil
	}
	if _, missing := os.Stat(o.cfg.Path); missing != nil || ctx.Err() != nil {
		return err
	}
	o.cfg.Log.Warn(event.FileOutdated, "the file could not be brought up to date; it is read as it is", "path", o.cfg.Path, "error", err)
	return nil
}

// openReaders opens the connections. It opens the first one now, to find out whether the
// file can be read; if not, none stays open.
func (o *opening) openReaders() error {
	path, err := dbfile.Resolve(o.cfg.Path)
	if err != nil {
		return err
	}
	file, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: ReadOnly makes no file; set AutoRestore to fetch it from the bucket, or let the writer make it first", err)
	}
	if err != nil {
		return err
	}
	o.path = path
	db := o.DB
	open := func() (*sqlite.Conn, error) { return db.openReadOnlyConn(file) }
	o.conns.readers = sqlite.NewPool(o.cfg.MaxReaders, max(8, runtime.GOMAXPROCS(0)), open)
	o.conns.lend(readsql.New(func() (*sqlite.Conn, error) {
		c, err := open()
		return c, db.cfg.Public(err)
	}, db.cfg.Public(db.refusal())))
	o.writer = writer.None(db.refusal())
	if err = o.readIdentity(); err != nil {
		o.conns.readers.Shut(writer.ErrClosed)
		err = errors.Join(err, o.conns.readers.Close(time.Now()))
	}
	return err
}

// readIdentity reads the file's identity. A file that DriftDB has never seen has none.
func (o *opening) readIdentity() error {
	l, err := o.conns.readers.Get(context.Background())
	if err != nil {
		return notDatabase(err)
	}
	defer o.conns.readers.Put(l, errReadDone)
	_, o.id, err = changelog.Inspect(l.Conn)
	if err == nil && o.id.Name != "" && o.id.Name != o.cfg.Name {
		err = fmt.Errorf("the file belongs to the database %q, not to %q", o.id.Name, o.cfg.Name)
	}
	return notDatabase(err)
}

// openReadOnlyConn opens a connection to file, and fails if another file has taken its
// place.
func (db *DB) openReadOnlyConn(file fs.FileInfo) (*sqlite.Conn, error) {
	c, err := sqlite.Open(db.path, sqlite.Options{
		ReadOnly: true, QueryOnly: true, BusyTimeout: db.cfg.BusyTimeout, OnConnect: db.conns.onConnect,
		Cache: db.conns.cache, CacheKiB: int(db.cfg.CacheBytes >> 13),
	})
	if sqlite.NotOpened(err) || sqlite.IsReadOnly(err) {
		return nil, fmt.Errorf("SQLite could not open it; to read a database in WAL mode, this user must be able to write %s-shm, or to make it: give write access to the folder, or read a copy of the file (%v)", db.path, err)
	}
	if err != nil {
		return nil, err
	}
	// Closing the last connection must not delete the WAL of a writer that was killed. If
	// there was no WAL, SQLite leaves an empty one and a -shm.
	err = c.KeepWAL(true)
	if now, gone := os.Stat(db.path); err == nil && (gone != nil || !os.SameFile(file, now)) {
		err = fmt.Errorf("%w: %s; close the database and open it again", ErrReplaced, db.path)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// readSequence reads the number of the last change from the log. It returns 0 if there is
// none, or if the log cannot be read, which it logs.
func (db *DB) readSequence() int64 {
	last, err := db.lastInLog()
	if err != nil && !errors.Is(err, writer.ErrClosed) {
		db.cfg.Log.Warn(event.LogUnreadable, "the log could not be read for the number of the last change", "path", db.path, "error", err)
	}
	return last
}

func (db *DB) lastInLog() (int64, error) {
	l, err := db.conns.readers.Get(context.Background())
	if err != nil {
		return 0, err
	}
	defer db.conns.readers.Put(l, errReadDone)
	if err := l.Enter(); err != nil {
		return 0, err
	}
	defer l.Leave()
	if known, err := changelog.Exists(l.Conn); err != nil || !known {
		return 0, err
	}
	return changelog.Last(l.Conn)
}

// closeReadOnly takes the connections back and closes them. The file of a view goes with
// them.
func (db *DB) closeReadOnly(deadline time.Time) error {
	db.conns.shut(db.cfg.Public)
	err := db.conns.recall(deadline, func() error { return nil })
	err = errors.Join(err, db.conns.close())
	if db.file != nil {
		err = errors.Join(err, db.file.Release())
	}
	return err
}
