package driftdb

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/pagecache"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// memory is the Path of a database that is not kept.
const memory = ":memory:"

// Open opens a database, and makes it if it is missing; see [Config]. A SQLite
// file that DriftDB has never seen is adopted: the bucket gets a snapshot of it first.
// If it has free pages, it is read through before, and refused if it is damaged
// (ErrCorrupt).
//
// Open touches the disk. It asks the bucket when it has to restore, and, unless
// syncing is manual, whether the file is up to date with it. One that is behind and
// has nothing of its own is brought up to date, also behind a writer that is alive.
// Open waits 0.6 s for the bucket to begin to answer, 3 s if it has never seen the
// file, and not at all if the bucket did not answer in the last minutes; the comparison
// is then made in the background. An Open that fails
// leaves the file as it was, and makes none. ctx bounds Open only.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, fail(fmt.Errorf("open: %w", err))
	}
	o := &opening{DB: newDB(ctx, cfg)}
	if cfg.ReadOnly {
		return o.openReadOnly(ctx)
	}
	return o.open(ctx)
}

func newDB(ctx context.Context, cfg Config) *DB {
	db := &DB{cfg: cfg, log: event.To(cfg.Logger.Handler()), gate: writer.NewGate()}
	db.conns.cache = pagecache.New(cfg.CacheBytes)
	db.conns.onConnect = onConnect(context.WithoutCancel(ctx), cfg.OnConnect)
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
