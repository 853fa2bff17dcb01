// Package engine knows how the parts of an open database work together: in which order
// they are opened and closed, and which connections there are. What users see of it is
// the root package's business, which converts their configuration and the errors.
package engine

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"

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

	file    *dbfile.File   // nil, as the two below: it is only read
	foreign *foreign.Watch // whether anybody else writes it
	hub     *capture.Shared

	gate   *writer.Gate
	writer *writer.Writer
	conns  connections
	uplink uplink
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

// options are those of every connection that writes. None but the first may make
// the file, and each has to be one to the file that the first has locked.
func (db *DB) options() sqlite.Options {
	return sqlite.Options{
		BusyTimeout: db.cfg.BusyTimeout, Cache: db.conns.cache, CacheKiB: int(db.cfg.CacheBytes >> 13), ForeignKeys: true, Checkpointer: db.conns.checkpoints, Ledger: db.foreign.Ledger(),
		MustExist: true, Claim: db.file.Admit, OnConnect: db.conns.onConnect,
	}
}

// openReader opens a connection that only reads.
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

// openCaptured opens a captured connection for SQL.
func (db *DB) openCaptured() (*capture.Conn, error) {
	c, err := capture.Open(db.path, db.options(), db.hub)
	if err != nil {
		return nil, db.file.Explain(err)
	}
	return c, nil
}

// takeOver takes the database over from another node that may be writing. It waits for
// the bucket as long as Open does.
func (db *DB) takeOver(ctx context.Context) error {
	return db.uplink.sync.TakeOver(ctx, checkTimeout)
}

// exclusive runs fn, which makes a commit of our own to the log, while the writer
// stands back. The wait for another program's lock ends with ctx.
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

// SQL is the database for database/sql.
func (db *DB) SQL() *sql.DB { return db.conns.sql }

// Path is the file's, as it was configured.
func (db *DB) Path() string { return db.cfg.Path }

// NodeID is the ID under which this copy writes to the bucket.
func (db *DB) NodeID() string { return db.id.NodeID }

// Backup is what the bucket holds of the database.
func (db *DB) Backup() *backup.Backup { return backup.Of(db.uplink.bucket, db.cfg.Config) }

// CacheUsed is how many bytes the page caches of the connections take.
func (db *DB) CacheUsed() int64 { return db.conns.cache.Used() }

// Sequence is the number of the last committed change.
func (db *DB) Sequence() int64 {
	if db.cfg.ReadOnly {
		return db.readSequence()
	}
	return db.hub.Sequence()
}

// Check has SQLite check the whole file, and returns ErrDamaged with what is wrong.
func (db *DB) Check(ctx context.Context) error {
	var wrong []string
	err := db.Conn().Read(ctx, "PRAGMA integrity_check(10)", func(st *sqlite.Stmt) error {
		return st.Each(func(st *sqlite.Stmt) error {
			if s := st.Text(0); s != "ok" {
				wrong = append(wrong, s)
			}
			return nil
		})
	})
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%w: %s: %s", ErrDamaged, db.path, strings.Join(wrong, "; "))
	}
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
