package engine

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/undo"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// Undo takes back transactions.
func (db *DB) Undo(ctx context.Context, o undo.Options) (undo.Result, error) {
	if db.onlyReads() {
		return undo.Result{}, db.refusal()
	}
	if err := db.waitsForItself("Undo"); err != nil {
		return undo.Result{}, err
	}
	if db.gate.IsShut() {
		return undo.Result{}, writer.ErrClosed
	}
	res, err := undo.Run(ctx, undo.Database{Log: db.History(), Write: db.writeApart}, o)
	return res, db.gate.Explain(ctx, err)
}

// apart is a connection that writes while the writer stands back. Close interrupts it as it
// interrupts the writer.
type apart struct{ conn atomic.Pointer[capture.Conn] }

func (a *apart) interrupt() {
	if c := a.conn.Load(); c != nil {
		c.Interrupt()
	}
}

// writeApart runs fn with a new connection, which is captured, and does not enforce foreign
// keys. The writer stands back meanwhile.
func (db *DB) writeApart(ctx context.Context, commits bool, fn func(*capture.Conn) error) error {
	if commits {
		if err := db.writer.MayWrite(ctx); err != nil {
			return err
		}
	}
	return db.writer.With(ctx, func(w *capture.Conn) (err error) {
		if err := db.foreign.Notice(w); err != nil {
			return err
		}
		opts := db.options()
		opts.ForeignKeys = false
		c, err := capture.Open(db.path, opts, db.hub)
		if err != nil {
			return db.file.Explain(err)
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		db.apart.conn.Store(c)
		defer db.apart.conn.Store(nil)
		defer c.Watch(ctx)()
		c.Admit(true)
		return fn(c)
	})
}
