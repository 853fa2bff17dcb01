package driftdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/inside"
	"github.com/driftdb/driftdb-go/internal/pagecache"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
)

// DB is an open database. Its methods may be called from many goroutines.
type DB struct {
	cfg  Config
	path string
	log  event.Log
	id   changelog.Identity

	file  *dbfile.File
	temp  *dbfile.Work // of an in-memory database
	first *sqlite.Conn // which Open looks at the file with; later the log's
	found found        // by Open, before it changed anything

	refreshing bool // it is only brought up to date: it starts nothing new, and sends nothing

	compared  *syncer.Comparison            // of that with the bucket; nil: it did not answer, or was not asked
	onConnect func(*sqlite.Registrar) error // Config.OnConnect, or nil

	ledger   sqlite.Ledger // of the commits that are ours
	guard    guard
	clock    clock
	restored bool // Open has made the file

	hub      *capture.Hub
	token    chan struct{} // held by whoever uses writer
	writer   *capture.Conn
	running  atomic.Pointer[Tx] // that has the writer; nil: somebody else, or nobody
	txs      inside.Place       // the functions of Tx
	queue    queue              // work that waits for the writer
	group    []*work            // of whoever holds token
	cache    *pagecache.Budget  // of all connections
	readers  *sqlite.Pool
	captured *capture.Connector // the connections of sql
	sql      *sql.DB
	logs     *changelog.Log

	checkpoints *sqlite.Checkpointer // of all of these

	bucket *remote.Bucket // nil: there is no store
	direct *remote.Bucket // the same without retries, for Open, which does not wait long
	silent bool           // it did not answer a session that has just ended

	lockUntil time.Time // when Open waits no longer for others to let go
	meter     *meter
	sync      *syncer.Syncer

	measured int64 // what the hub had logged when the log was measured last; 0: not yet. The guard's

	definitions definitions

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
}

// lock waits for the writer.
func (db *DB) lock(ctx context.Context) error {
	if db.cfg.ReadOnly {
		return errOpenedReadOnly
	}
	select {
	case db.token <- struct{}{}:
	default:
		if err := db.ownTx(); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case db.token <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("driftdb: waiting for the writer: %w", context.Cause(ctx))
		case <-db.closed:
			return ErrClosed
		}
	}
	if db.isClosed() {
		db.unlock()
		return ErrClosed
	}
	return nil
}

func (db *DB) unlock() { <-db.token }

// mayWrite is called before what is going to write, without the writer: it takes the
// database over from another node that may be writing. It happens once in a session, and
// waits for the bucket as long as Open does.
func (db *DB) mayWrite(ctx context.Context) error {
	if db.cfg.ReadOnly {
		return errOpenedReadOnly
	}
	if !db.hub.Contested() {
		return nil
	}
	return export(db.sync.TakeOver(ctx, db.direct, checkTimeout))
}

// standBack keeps the writer from writing, until release is called, while a commit
// of our own is made. What others have committed is noticed first, or that would be
// refused.
func (db *DB) standBack(ctx context.Context) (release func(), err error) {
	select {
	case db.token <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := db.notice(); err != nil {
		db.unlock()
		return nil, err
	}
	return db.unlock, nil
}

// exclusive runs fn, which makes a commit of our own to the log, while the writer
// stands back. The wait for another program's lock ends with ctx.
func (db *DB) exclusive(ctx context.Context, fn func() error) error {
	release, err := db.standBack(ctx)
	if err != nil {
		return err
	}
	defer release()
	stop := db.logs.Watch(ctx)
	defer stop()
	return db.finish(ctx, fn())
}

// refused explains a write that failed because writes are refused.
func (db *DB) refused(err error) error {
	if err == nil {
		return nil
	}
	if why := db.hub.Refused(); why != nil && !sqlite.IsConstraint(err) && !errors.Is(err, why) {
		return errors.Join(why, err)
	}
	return err
}

// Exec runs a script of one or more statements on the writer. Each statement
// sees all of args; a bool is bound as 0 or 1, a time.Time as Unix
// milliseconds, as repositories store them. It uses no network.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	values, err := named(args)
	if err != nil {
		return nil, err
	}
	res, err := db.exec(ctx, query, values)
	if errors.Is(err, capture.ErrContested) { // it has left nothing behind
		if err = db.mayWrite(ctx); err == nil {
			res, err = db.exec(ctx, query, values)
		}
	}
	return res, err
}

func (db *DB) exec(ctx context.Context, query string, values []driver.NamedValue) (sql.Result, error) {
	if err := db.lock(ctx); err != nil {
		return nil, err
	}
	defer db.unlock()
	res, err := db.writer.ExecContext(ctx, query, values)
	if !db.writer.Autocommit() {
		err = errors.Join(err, errors.New("driftdb: the script left a transaction open, which was rolled back; use Tx"), db.writer.Rollback())
	}
	if err != nil {
		return nil, tableError("", db.refused(db.finish(ctx, err)))
	}
	return res, nil
}

// SQL returns the database for use with database/sql, and with everything that
// is built on it. All of its connections may write, and whatever they commit is
// captured. It is closed with the database, see [DB.Close]; do not Close it.
//
// A transaction takes the write lock when it begins, and waits for it for up to
// Config.BusyTimeout, so that what it has read still holds when it writes. One
// with sql.TxOptions{ReadOnly: true} takes no lock and waits for nobody.
//
// Values are bound and read as the driver modernc.org/sqlite does. A time.Time
// is stored as text that SQLite's date functions understand, such as
// "2006-01-02 15:04:05.999999999-07:00", not as a repository's Unix
// milliseconds, and read again from columns declared DATE, DATETIME or
// TIMESTAMP. SQLite compares it as text: store times of one zone, best UTC.
func (db *DB) SQL() *sql.DB { return db.sql }

// openCaptured opens a captured connection for SQL.
func (db *DB) openCaptured() (*capture.Conn, error) {
	c, err := capture.Open(db.path, db.options(), db.hub)
	if err != nil {
		return nil, db.file.Explain(err)
	}
	return c, nil
}

// NodeID returns the id under which this copy writes to the bucket.
func (db *DB) NodeID() string { return db.id.NodeID }

// Sequence returns the number of the last committed change.
func (db *DB) Sequence() int64 {
	if db.cfg.ReadOnly {
		return db.readSequence()
	}
	return db.hub.Sequence()
}

// IntegrityCheck lets SQLite check the whole file. Damage is ErrCorrupt. It
// reads the disk, for as long as the file is large.
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
	return err
}

// Vacuum rebuilds the file without its free pages. It needs as much free disk
// space again, and the log cannot describe it: a snapshot follows.
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
