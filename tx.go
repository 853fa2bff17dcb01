package driftdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Tx is a transaction, valid until the function that it was given to returns.
// It must not be used by several goroutines at once.
type Tx struct {
	db    *DB
	w     *capture.Conn // nil: it only reads
	c     *sqlite.Conn
	depth int // of savepoints
	done  bool
}

var (
	errTxDone = errors.New("driftdb: the transaction has ended")
	errTxLost = errors.New("driftdb: the transaction has been rolled back already, by SQLite after an earlier error or by a statement in it")
)

// Tx runs fn in a transaction that is committed when fn returns nil, and
// rolled back when it returns an error, panics, or ctx ends. It waits for the
// one writer; fn must not write to the database except through tx, or it waits
// for itself. It uses no network.
func (db *DB) Tx(ctx context.Context, fn func(*Tx) error) error {
	if err := db.lock(ctx); err != nil {
		return err
	}
	defer db.unlock()
	stop := db.writer.Watch(ctx)
	defer stop()
	db.writer.Before()
	if err := db.writer.Do("BEGIN IMMEDIATE"); err != nil {
		return finish(ctx, err)
	}
	tx := &Tx{db: db, w: db.writer, c: db.writer.Conn}
	defer tx.end(stop)
	if err := fn(tx); err != nil {
		return finish(ctx, err)
	}
	if err := tx.usable(ctx); err != nil {
		return err
	}
	tx.w.Before()
	return tableError("", db.refused(finish(ctx, tx.c.Do("COMMIT"))))
}

// end rolls back what was not committed. Interrupts are over by then: a
// rollback must not be stopped half way.
func (tx *Tx) end(stop func()) {
	tx.done = true
	stop()
	if err := tx.c.Rollback(); err != nil {
		tx.db.log.Error("a rollback failed", "scope", "sqlite", "error", err)
	}
	if tx.w != nil {
		tx.w.After()
	}
}

// ReadTx runs fn in a transaction that only reads: all of it sees the database
// as it was when the transaction began, whatever is written meanwhile.
func (db *DB) ReadTx(ctx context.Context, fn func(*Tx) error) error {
	c, err := db.readers.Get(ctx)
	if err != nil {
		return export(err)
	}
	defer db.readers.Put(c)
	stop := c.Watch(ctx)
	defer stop()
	// The view begins with the first thing that is read.
	if err := c.Exec("BEGIN; SELECT 1 FROM main.sqlite_schema LIMIT 1"); err != nil {
		return finish(ctx, err)
	}
	tx := &Tx{db: db, c: c}
	defer tx.end(stop)
	return finish(ctx, fn(tx))
}

// Exec runs a script of one or more statements. Each sees all of args.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := tx.usable(ctx); err != nil {
		return nil, err
	}
	values, err := named(args)
	if err != nil {
		return nil, err
	}
	if tx.w == nil {
		res, err := tx.c.Driver.ExecContext(ctx, query, values)
		return res, finish(ctx, err)
	}
	res, err := tx.w.ExecContext(ctx, query, values)
	return res, tableError("", tx.db.refused(finish(ctx, err)))
}

func (tx *Tx) usable(ctx context.Context) error {
	switch {
	case tx.done:
		return errTxDone
	case tx.c.Autocommit():
		return errTxLost // or what follows would be committed one by one
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("driftdb: %w", context.Cause(ctx))
	}
	return nil
}

// Savepoint runs fn in a part of the transaction that is undone by itself when
// fn returns an error or panics.
func (tx *Tx) Savepoint(ctx context.Context, fn func(*Tx) error) error {
	return tx.savepoint(ctx, func() error { return fn(tx) })
}

func (tx *Tx) savepoint(ctx context.Context, fn func() error) error {
	if err := tx.usable(ctx); err != nil {
		return err
	}
	if tx.w == nil {
		return ErrReadOnly
	}
	name := fmt.Sprintf("driftdb_%d", tx.depth)
	tx.w.Before()
	if err := tx.c.Do("SAVEPOINT " + name); err != nil {
		return finish(ctx, err)
	}
	tx.depth++
	kept := false
	defer func() {
		tx.depth--
		if !kept && !tx.c.Autocommit() {
			tx.w.Before()
			if err := tx.c.Exec("ROLLBACK TO " + name + "; RELEASE " + name); err != nil {
				tx.db.log.Error("a savepoint could not be rolled back", "scope", "sqlite", "error", err)
			}
		}
	}()
	if err := fn(); err != nil {
		return finish(ctx, err)
	}
	tx.w.Before()
	if err := tx.c.Do("RELEASE " + name); err != nil {
		return finish(ctx, err)
	}
	kept = true
	return nil
}

// statement runs fn with a statement of the transaction's connection.
func (tx *Tx) statement(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	if err := tx.usable(ctx); err != nil {
		return err
	}
	if tx.w != nil {
		tx.w.Before()
		defer tx.w.After()
	}
	return run(ctx, tx.c, query, fn)
}
