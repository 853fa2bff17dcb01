package scale_test

import (
	"context"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestReaders: machines that open a database and list it, ReadOnly and not, beside its
// writer: on its own file, and on files of their own. It is never fenced, and what they
// ask of the bucket is little.
func TestReaders(t *testing.T) {
	ctx := t.Context()
	rounds, every := systemtest.Setting(t, "DRIFTDB_READERS", 10), time.Duration(systemtest.Setting(t, "DRIFTDB_READ_EVERY", 1))*time.Millisecond
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval = false, max(every, 5*time.Millisecond)
	a := systemtest.Open(t, cfg)
	systemtest.Exec(t, a, "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT)")
	systemtest.Check(t, a.Flush(ctx))
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(max(every/100, time.Millisecond)):
				if _, err := a.Exec(context.Background(), "INSERT INTO notes(text) VALUES('x')"); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	store := &ledger{Store: cfg.Store}
	beside, away, awayToRead := cfg, systemtest.Elsewhere(t, cfg), systemtest.Elsewhere(t, cfg)
	beside.ReadOnly, awayToRead.ReadOnly = true, true
	for name, reader := range map[string]driftdb.Config{"ReadOnly, the writer's file": beside, "ReadOnly, a file of its own": awayToRead, "a file of its own": away} {
		reader.Store = store
		reader.SyncInterval = time.Hour
		for range rounds {
			time.Sleep(every)
			db, err := driftdb.Open(ctx, reader)
			systemtest.Check(t, err)
			if _, err := driftdb.Select[int64](ctx, db, "SELECT count(*) FROM notes"); err != nil {
				t.Error(err)
			}
			systemtest.Check(t, db.Close())
		}
		requests := store.since()
		if n := tally(requests, "PUT") + tally(requests, "DELETE"); n > 0 {
			t.Errorf("%s: %d requests that write", name, n)
		}
		t.Logf("%s: %d listings: %d GET, %d LIST", name, rounds, tally(requests, "GET"), tally(requests, "LIST"))
	}
	close(stop)
	<-done
	if m := a.Metrics(); m.Fenced || m.LastError != nil {
		t.Errorf("the writer: %+v", m)
	}
}
