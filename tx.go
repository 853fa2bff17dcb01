package driftdb

import (
	"context"
	"database/sql"
	"errors"

	"github.com/driftdb/driftdb-go/internal/engine"
)

// Tx is a transaction. It is valid until the function that got it returns, except for
// Sequence. Only one goroutine at a time may use it.
type Tx struct{ tx *engine.Tx }

// Tx runs fn in a transaction. It commits when fn returns nil, and rolls back when fn
// returns an error or panics, or when ctx ends. It waits for the one writer. In fn, write
// only through tx (tx.Exec, tx.Savepoint, In(tx) of a repository). Calls on the same
// goroutine that would wait for fn itself, such as a repository without In(tx), a
// statement of SQL, another Tx, Flush or Close, return an error at once. You can read
// without tx in fn; such reads see the database as it was before the transaction. Tx uses
// no network.
//
// On another goroutine, such a write waits for fn to return: do not wait for it in fn.
//
// [DB.Close] gives fn only a moment to finish. Then it rolls back, and whatever fn does
// next with tx, and Tx itself, fails with [ErrClosed].
func (db *DB) Tx(ctx context.Context, fn func(*Tx) error) error {
	return passOn(db.engine.Tx(ctx, func(tx *engine.Tx) error { return fn(&Tx{tx}) }))
}

// ReadTx runs fn in a read-only transaction: everything in it sees the database as it was
// when the transaction began, whatever is written meanwhile. [DB.Close] does not wait for
// fn: the next read in fn fails with [ErrClosed].
func (db *DB) ReadTx(ctx context.Context, fn func(*Tx) error) error {
	return passOn(db.engine.ReadTx(ctx, func(tx *engine.Tx) error { return fn(&Tx{tx}) }))
}

// Exec runs a script of one or more statements. Each statement gets all of args. A
// statement that begins, ends or divides a transaction is an error, see [Tx.Savepoint];
// the statements before it have already run.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	res, err = tx.tx.Exec(ctx, query, args)
	return res, fail(err)
}

// Savepoint runs fn in a nested part of the transaction. If fn returns an error or
// panics, only that part is rolled back.
func (tx *Tx) Savepoint(ctx context.Context, fn func(*Tx) error) error {
	return passOn(tx.tx.Savepoint(ctx, func() error { return fn(tx) }))
}

// Sequence returns the number of the last change that the database had when the
// transaction committed: [DB.WaitSynced] with it waits for all that the transaction
// wrote. It is 0 until Tx has committed, and in a ReadTx. Unlike the other methods, it may
// be called after Tx has returned.
func (tx *Tx) Sequence() int64 { return tx.tx.Sequence() }

// passOn returns own, the error of a user's function, unchanged, joined with err converted
// for users.
func passOn(own, err error) error {
	switch {
	case own == nil:
		return fail(err)
	case err == nil:
		return own
	}
	return errors.Join(own, fail(err))
}
