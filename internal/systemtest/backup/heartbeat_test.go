package backup_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// ping is the path of heartbeats, and a secret.
const ping = "/ping/5e0b1f57-token"

// pulse is a service that gets heartbeats: beats has each of them, and answer, if not nil,
// answers it.
type pulse struct {
	*httptest.Server
	beats chan string
}

func newPulse(t *testing.T, cfg *driftdb.Config, answer http.HandlerFunc) *pulse {
	p := &pulse{beats: make(chan string, 1000)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.beats <- r.Method + " " + r.URL.Path
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(p.Close)
	cfg.HeartbeatURL = p.URL + ping
	return p
}

// want waits for the next heartbeat.
func (p *pulse) want(t *testing.T) {
	t.Helper()
	systemtest.Within(t, "the heartbeat", func() {
		if got := <-p.beats; got != "GET "+ping {
			t.Errorf("%s, want GET %s", got, ping)
		}
	})
}

// none fails if there was a heartbeat. The database must be closed, so that none can come.
func (p *pulse) none(t *testing.T, why string) {
	t.Helper()
	if n := len(p.beats); n > 0 {
		t.Errorf("%d heartbeats: %s", n, why)
	}
}

// TestHeartbeat: a heartbeat follows each manifest, and nothing else.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	cfg := systemtest.Config(t)
	p := newPulse(t, &cfg, nil)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	p.none(t, "nothing was sent")
	for i := range 3 {
		systemtest.Exec(t, db, "INSERT INTO t VALUES(?)", i)
		systemtest.Check(t, db.Flush(t.Context()))
		p.want(t)
	}
	systemtest.Check(t, db.Flush(t.Context()))
	systemtest.Check(t, db.Close())
	p.none(t, "nothing was new")
}

// TestHeartbeatAtClose: the last manifest is confirmed by Close, and told of before it
// returns.
func TestHeartbeatAtClose(t *testing.T) {
	t.Parallel()
	cfg := systemtest.Config(t)
	cfg.ManualSync = false
	p := newPulse(t, &cfg, nil)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	systemtest.Check(t, db.Close())
	if len(p.beats) == 0 {
		t.Error("no heartbeat by the end of Close")
	}
}

// TestNoHeartbeat: none comes while the bucket does not answer, while what it has cannot
// be restored for want of a snapshot, and from a writer that was fenced.
func TestNoHeartbeat(t *testing.T) {
	t.Parallel()
	t.Run("unreachable", func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Break(cfg.Store, objstoretest.From(1, objstoretest.Fault{Kind: objstoretest.Fail}))
		cfg.Store, cfg.Retry.MaxRetries = store, -1
		p := newPulse(t, &cfg, nil)
		db := systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "CREATE TABLE t(v)")
		if err := db.Flush(t.Context()); err == nil {
			t.Error("Flush succeeded")
		}
		systemtest.Check(t, db.Close())
		p.none(t, "the bucket did not answer")
		store.SetHook(nil)
	})
	t.Run("without its snapshot", func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Break(cfg.Store, objstoretest.Only(objstoretest.Put, func(c objstoretest.Call) (f objstoretest.Fault) {
			if strings.Contains(c.Key, "/snapshots/") {
				f.Kind = objstoretest.Fail
			}
			return f
		}))
		cfg.Store, cfg.Retry.MaxRetries = store, -1
		p := newPulse(t, &cfg, nil)
		for range 2 { // the second session begins with what the first one has stored
			db := systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS t(v)")
			systemtest.Exec(t, db, "VACUUM") // a barrier
			if err := db.Flush(t.Context()); err == nil {
				t.Error("Flush succeeded")
			}
			systemtest.Check(t, db.Close())
		}
		if !strings.Contains(strings.Join(systemtest.Keys(t, cfg.Store), " "), systemtest.TheManifest) {
			t.Error("no manifest was stored, so the test shows nothing")
		}
		p.none(t, "no snapshot was stored")
		store.SetHook(nil)
	})
	t.Run("fenced", func(t *testing.T) {
		cfg := systemtest.Config(t)
		p := newPulse(t, &cfg, nil)
		old := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrDiverged)) // it is opened once more
		systemtest.Exec(t, old, "CREATE TABLE t(v)")
		systemtest.Check(t, old.Flush(t.Context()))
		p.want(t)
		other := systemtest.Elsewhere(t, cfg)
		other.HeartbeatURL, other.AutoRestore = "", true
		taker := systemtest.Open(t, other)
		systemtest.Exec(t, taker, "INSERT INTO t VALUES(1)")
		systemtest.Check(t, taker.Flush(t.Context()))
		systemtest.Exec(t, old, "INSERT INTO t VALUES(2)")
		if err := old.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
			t.Errorf("Flush: %v", err)
		}
		systemtest.Check(t, old.Close())
		p.none(t, "another writer has taken over")
	})
}

// TestHeartbeatFails: a service that fails, or does not answer, delays nothing. An event
// says so, without the URL.
func TestHeartbeatFails(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"hangs":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := systemtest.Config(t)
			events := systemtest.Listen(&cfg)
			p := newPulse(t, &cfg, answer)
			db := systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "CREATE TABLE t(v)")
			systemtest.Check(t, db.Flush(t.Context()))
			p.want(t)
			systemtest.Exec(t, db, "INSERT INTO t VALUES(1)")
			systemtest.Check(t, db.Flush(t.Context()))
			systemtest.Within(t, "Close", func() { systemtest.Check(t, db.Close()) })
			e := events.Wait(t, driftdb.EventHeartbeatFailed)
			if text := fmt.Sprint(e); strings.Contains(text, "token") || e.Attrs["host"] != "127.0.0.1" || e.Attrs["error"] == nil {
				t.Errorf("the event says too much, or too little: %s", text)
			}
		})
	}
}
