// Package engine knows how the parts of an open database work together: in which order
// they open and close, and which connections there are. What users see of it is the root
// package's business, which converts their configuration and the errors.
package engine

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/pagecache"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// DB is an open database. Many goroutines can call its methods at the same time.
type DB struct {
	cfg  Config
	path string
	id   changelog.Identity

	file    *dbfile.File   // nil, like the two below, if the database is read-only; a view has the file alone
	foreign *foreign.Watch // watches for other programs' writes
	hub     *capture.Shared

	gate   *writer.Gate
	writer *writer.Writer
	conns  connections
	uplink uplink
	tail   tail
	apart  apart // the connection of an undo

	following *Following // nil: the database is not a follower's
	consumers consumers

	measured atomic.Pointer[changelog.Size] // the log, when it was last measured; nil: never
}

// Open opens the database that cfg names.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	o := &opening{DB: newDB(ctx, cfg)}
	if cfg.ReadOnly {
		return o.openReadOnly(ctx)
	}
	return o.open(ctx)
}

func newDB(ctx context.Context, cfg Config) *DB {
	db := &DB{cfg: cfg, gate: writer.NewGate()}
	db.conns.cache = pagecache.New(cfg.CacheBytes)
	db.conns.onConnect = cfg.Connect(context.WithoutCancel(ctx))
	return db
}

// options returns the options of every connection that writes. Such a connection never
// creates the file, and must open the same file that the first connection locked.
func (db *DB) options() sqlite.Options {
	return sqlite.Options{
		BusyTimeout: db.cfg.BusyTimeout, Cache: db.conns.cache, CacheKiB: int(db.cfg.CacheBytes >> 13), ForeignKeys: true, Checkpointer: db.conns.checkpoints, Ledger: db.foreign.Ledger(),
		MustExist: true, Claim: db.file.Admit, OnConnect: db.conns.onConnect,
	}
}

// openReader opens a read-only connection.
func (db *DB) openReader(opts sqlite.Options) (*sqlite.Conn, error) {
	opts.QueryOnly, opts.Ledger = true, nil
	c, err := sqlite.Open(db.path, opts)
	if err == nil {
		return c, nil
	}
	if gone := db.foreign.CheckFile(); gone != nil {
		return nil, gone
	}
	return nil, db.file.Explain(err)
}

// openCaptured opens a connection whose changes are captured, for database/sql.
func (db *DB) openCaptured() (*capture.Conn, error) {
	c, err := capture.Open(db.path, db.options(), db.hub)
	if err != nil {
		return nil, db.file.Explain(err)
	}
	return c, nil
}

// takeOver takes the database over from another node, which may be writing. It waits for
// the bucket as long as Open does.
func (db *DB) takeOver(ctx context.Context) error {
	return db.uplink.sync.TakeOver(ctx, checkTimeout)
}

// exclusive runs fn, which makes an internal commit to the log, while the writer stands
// back. Waiting for another program's lock ends with ctx.
func (db *DB) exclusive(ctx context.Context, fn func() error) error {
	release, err := db.writer.StandBack(ctx)
	if err != nil {
		return err
	}
	defer release()
	stop := db.uplink.logs.Watch(ctx)
	defer stop()
	return db.gate.Explain(ctx, fn())
}

// Exec runs a script of one or more statements on the writer.
func (db *DB) Exec(ctx context.Context, script string, args []any) (sql.Result, error) {
	values, err := Named(args)
	if err != nil {
		return nil, err
	}
	res, err := db.writer.Exec(ctx, script, values)
	if err != nil {
		return nil, err
	}
	return res, nil
}

// SQL returns the database as a *sql.DB.
func (db *DB) SQL() *sql.DB { return db.conns.sql }

// Path returns the path of the file as it was configured.
func (db *DB) Path() string { return db.cfg.Path }

// NodeID returns the ID under which this copy writes to the bucket.
func (db *DB) NodeID() string { return db.id.NodeID }

// Backup returns what the bucket holds of the database.
func (db *DB) Backup() *backup.Backup { return backup.Of(db.uplink.bucket, db.cfg.Config) }

// CacheUsed returns the size of the connections' page caches in bytes.
func (db *DB) CacheUsed() int64 { return db.conns.cache.Used() }

// Sequence returns the number of the last committed change.
func (db *DB) Sequence() int64 {
	if db.following != nil {
		return db.following.sequence.Load()
	}
	if db.cfg.ReadOnly {
		return db.readSequence()
	}
	return db.hub.Sequence()
}

// Check has SQLite check the whole file, and returns ErrDamaged with the faults it finds.
func (db *DB) Check(ctx context.Context) error {
	var wrong []string
	for _, query := range []string{"PRAGMA integrity_check(10)", sqlite.Strays} {
		err := db.Conn().Read(ctx, query, func(st *sqlite.Stmt) error {
			return st.Each(func(st *sqlite.Stmt) error {
				if s := st.Text(0); s != "ok" {
					wrong = append(wrong, s)
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s: %s", ErrDamaged, db.path, strings.Join(wrong, "; "))
	}
	return nil
}

// size returns the size of the database on disk, including the WAL.
func (db *DB) size() int64 { return sizeOf(db.path) + sizeOf(db.path+"-wal") }

// sizeOf returns the size of a file, or 0 if there is none. Unlike open, stat leaves
// SQLite's locks alone.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
