package writers_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// waking is a store that answers nobody until it wakes. What was asked before has failed
// then.
type waking struct {
	objstore.Store
	woken chan bool
}

func (w *waking) sleeps(ctx context.Context) error {
	select {
	case <-w.woken:
		return nil
	default:
	}
	select {
	case <-w.woken:
		return errors.New("the connection was cut")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *waking) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if err := w.sleeps(ctx); err != nil {
		return objstore.Info{}, err
	}
	return w.Store.Put(ctx, key, body, opts)
}

func (w *waking) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	if err := w.sleeps(ctx); err != nil {
		return nil, objstore.Info{}, err
	}
	return w.Store.Get(ctx, key, opts)
}

// TestContestedMeanwhile: that another node was the last writer is found out while a
// transaction is open. It commits all the same; so does whatever comes after, once the
// database has been taken over.
func TestContestedMeanwhile(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, db *driftdb.DB, meanwhile func()) error{
		"Tx": func(ctx context.Context, db *driftdb.DB, meanwhile func()) error {
			return db.Tx(ctx, func(tx *driftdb.Tx) error {
				_, err := tx.Exec(ctx, "INSERT INTO t(v) VALUES('mine')")
				meanwhile()
				return err
			})
		},
		"SQL": func(ctx context.Context, db *driftdb.DB, meanwhile func()) error {
			tx, err := db.SQL().BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			_, err = tx.Exec("INSERT INTO t(v) VALUES('mine')")
			meanwhile()
			if err != nil {
				return err
			}
			return tx.Commit()
		},
		"BEGIN, then": func(ctx context.Context, db *driftdb.DB, meanwhile func()) error {
			meanwhile()
			c, err := db.SQL().Conn(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			for _, query := range []string{"BEGIN IMMEDIATE", "INSERT INTO t(v) VALUES('mine')", "COMMIT"} {
				if _, err := c.ExecContext(ctx, query); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cfg := t.Context(), systemtest.Config(t)
				first, err := driftdb.Open(ctx, cfg)
				systemtest.Check(t, err)
				systemtest.Some(t, first, "t", 3)
				systemtest.Check(t, errors.Join(first.Flush(ctx), first.Close())) // it has not said that the name is free
				there := systemtest.Elsewhere(t, cfg)
				there.ManualSync = false
				second, err := driftdb.Open(ctx, there) // gets the file, and compares it
				systemtest.Check(t, err)
				systemtest.Check(t, second.Close())
				store := &waking{cfg.Store, make(chan bool)}
				there.Store = store
				second = systemtest.Open(t, there)
				systemtest.Check(t, write(ctx, second, func() {
					close(store.woken)
					time.Sleep(time.Hour) // of the bubble: the engine has compared by now
				}))
				systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('more')")
				if n := systemtest.Count(t, second, "t"); n != 5 {
					t.Errorf("%d rows", n)
				}
				systemtest.Check(t, second.Flush(ctx))
			})
		})
	}
}
