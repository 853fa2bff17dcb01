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

// Open opens a database, and creates it if it is missing; see [Config]. It adopts a
// SQLite file that DriftDB has never seen: the bucket first gets a snapshot of it. If
// such a file has free pages, Open reads all of it first, and refuses it if it is damaged
// (ErrCorrupt).
//
// Open uses the disk. It asks the bucket when it has to restore and, unless ManualSync is
// set, whether the file is up to date. A file that is behind and has no changes of its
// own is updated, even while another writer is active. Open waits 0.6 s for the bucket to
// start answering, 3 s if DriftDB has never seen the file, and not at all if the bucket
// has not answered in the last few minutes; the comparison then runs in the background.
// If Open fails, it leaves the file as it was, and creates none. ctx limits only Open
// itself.
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
