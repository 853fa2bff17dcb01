package repository_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestContextBoundsTheWait: while another program holds the write lock, each call gives
// up when its context ends, however long BusyTimeout is, and works once the lock is free.
func TestContextBoundsTheWait(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.BusyTimeout = time.Hour
	db := systemtest.Open(t, cfg)
	repo, err := driftdb.Define[user](t.Context(), db, "users")
	systemtest.Check(t, err)
	systemtest.Some(t, db, "t", 1)
	other, err := sql.Open("sqlite", cfg.Path)
	systemtest.Check(t, err)
	defer other.Close()
	calls := map[string]func(context.Context) error{
		"Flush":    db.Flush,
		"Snapshot": func(ctx context.Context) error { _, err := db.Snapshot(ctx); return err },
		"Vacuum":   db.Vacuum,
		"Exec":     func(ctx context.Context) error { _, err := db.Exec(ctx, "INSERT INTO t(v) VALUES(2)"); return err },
		"Define":   func(ctx context.Context) error { _, err := driftdb.Define[user](ctx, db, "more"); return err },
		"Create":   func(ctx context.Context) error { _, err := repo.Create(ctx, user{Name: "a", Email: "a"}); return err },
		"Tx": func(ctx context.Context) error {
			return db.Tx(ctx, func(*driftdb.Tx) error { return nil })
		},
		"SQL": func(ctx context.Context) error {
			_, err := db.SQL().ExecContext(ctx, "INSERT INTO t(v) VALUES(3)")
			return err
		},
		"SQL, DDL": func(ctx context.Context) error {
			_, err := db.SQL().ExecContext(ctx, "CREATE INDEX i ON t(v)")
			return err
		},
	}
	for name, call := range calls {
		systemtest.Some(t, db, "t", 1)
		lock, err := other.Begin()
		systemtest.Check(t, err)
		_, err = lock.Exec("UPDATE t SET v = v")
		systemtest.Check(t, err)
		systemtest.Within(t, name, func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		})
		systemtest.Check(t, lock.Rollback())
	}
	for name, call := range calls {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s, when nobody holds the lock: %v", name, err)
		}
	}
}
