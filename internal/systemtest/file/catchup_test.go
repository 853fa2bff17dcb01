package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// hear collects what a database tells.
func hear(cfg *driftdb.Config) (told func(kind driftdb.EventKind) int) {
	var mu sync.Mutex
	all := map[driftdb.EventKind]int{}
	cfg.OnEvent = func(e driftdb.Event) {
		mu.Lock()
		defer mu.Unlock()
		all[e.Kind]++
	}
	return func(kind driftdb.EventKind) int {
		mu.Lock()
		defer mu.Unlock()
		return all[kind]
	}
}

// TestCatchUpToTheTip: an old copy of a disk gets what its original has sent since,
// also what no manifest names yet, without a restore; and also what the copy has
// itself in its log, not knowing that it was sent.
func TestCatchUpToTheTip(t *testing.T) {
	for _, unsent := range []bool{false, true} {
		ctx := t.Context()
		cfg := systemtest.Config(t)
		cfg.MaxBatchSize, cfg.SyncInterval, cfg.ManifestInterval = 2, time.Millisecond, time.Hour
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		systemtest.Check(t, db.Flush(ctx))
		if unsent {
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('sent by the original')")
		}
		systemtest.Check(t, db.Close())
		old := systemtest.CopyClosed(t, cfg)
		db = systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Exec(t, db, "CREATE TABLE more AS SELECT * FROM t")
		systemtest.Check(t, db.Flush(ctx))
		confirmed := db.Metrics().ConfirmedSequence
		for range 5 {
			systemtest.Exec(t, db, "UPDATE t SET v = v || '!'; INSERT INTO more(v) VALUES('x')")
		}
		db.StartSync()
		systemtest.Eventually(t, "all is sent", func() bool { return db.Metrics().PendingChanges == 0 })
		if now := db.Metrics().ConfirmedSequence; now != confirmed {
			t.Fatalf("the manifest has moved from %d to %d", confirmed, now)
		}
		old.ManualSync = false
		told := hear(&old)
		copied := systemtest.Open(t, old)
		if copied.Sequence() != db.Sequence() || told(driftdb.EventCaughtUp) == 0 || told(driftdb.EventRestoreNeeded) != 0 {
			t.Errorf("unsent %v: the copy is at %d of %d", unsent, copied.Sequence(), db.Sequence())
		}
		dbtest.Equal(t, cfg.Path, old.Path)
		if m := copied.Metrics(); m.Barriers != 0 || m.PendingChanges != 0 {
			t.Errorf("%d barriers, %d changes to send", m.Barriers, m.PendingChanges)
		}
		systemtest.Exec(t, copied, "INSERT INTO t(v) VALUES('of the copy')")
		systemtest.Check(t, copied.Flush(ctx))
		if err := db.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
			t.Errorf("the original: %v", err)
		}
	}
}

// TestCatchUpAfterDeath: a file whose process died, and which had sent all, is
// brought up to date like one that was closed.
func TestCatchUpAfterDeath(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(ctx))
	dead := cfg
	dead.Path = filepath.Join(t.TempDir(), "dead.sqlite")
	systemtest.Check(t, systemtest.CloneDisk(cfg.Path, dead.Path))
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('more')")
	systemtest.Check(t, db.Flush(ctx))
	dead.ManualSync = false
	told := hear(&dead)
	again := systemtest.Open(t, dead)
	if told(driftdb.EventCaughtUp) != 1 || systemtest.Count(t, again, "t") != 4 {
		t.Errorf("it has %d rows", systemtest.Count(t, again, "t"))
	}
}

// TestCatchUpByRestore: where the log does not lead on from an old copy, Open
// restores it, unless that has something of its own.
func TestCatchUpByRestore(t *testing.T) {
	for name, since := range map[string]func(t *testing.T, db *driftdb.DB){
		"a barrier": func(t *testing.T, db *driftdb.DB) {
			systemtest.Check(t, db.Vacuum(t.Context()))
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('behind the barrier')")
		},
		"a log that is kept no more": func(t *testing.T, db *driftdb.DB) {
			for range 8 { // each gives up a day at most
				time.Sleep(50 * time.Hour)
				systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('days later')")
				_, err := db.Snapshot(t.Context())
				systemtest.Check(t, err)
				_, _, err = db.CollectGarbage(t.Context())
				systemtest.Check(t, err)
			}
		},
	} {
		for _, own := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx := t.Context()
					cfg := systemtest.Config(t)
					cfg.Retention, cfg.SyncInterval = 72*time.Hour, time.Hour
					db := systemtest.Open(t, cfg)
					systemtest.Some(t, db, "t", 3)
					systemtest.Check(t, db.Shutdown(ctx))
					systemtest.Check(t, os.Chmod(cfg.Path, 0o640))
					old := systemtest.CopyClosed(t, cfg)
					systemtest.Check(t, os.Chmod(old.Path, 0o640))
					if own {
						there := systemtest.Open(t, old, systemtest.Ends(driftdb.ErrDiverged))
						systemtest.Exec(t, there, "INSERT INTO t(v) VALUES('its own')")
						systemtest.Check(t, there.Close())
					}
					db = systemtest.Open(t, cfg)
					since(t, db)
					systemtest.Check(t, db.Flush(ctx))
					old.ManualSync = false
					told := hear(&old)
					again, err := driftdb.Open(ctx, old)
					if own {
						if !errors.Is(err, driftdb.ErrDiverged) || told(driftdb.EventRestoreNeeded) != 0 {
							t.Fatalf("with a change of its own: %v", err)
						}
						return
					}
					systemtest.Check(t, err)
					defer again.Close()
					if again.Sequence() != db.Sequence() || told(driftdb.EventRestoreNeeded) != 1 || again.NodeID() != db.NodeID() {
						t.Errorf("it is at %d of %d; restored %d times", again.Sequence(), db.Sequence(), told(driftdb.EventRestoreNeeded))
					}
					if info, err := os.Stat(old.Path); err != nil || info.Mode().Perm() != 0o640 && runtime.GOOS != "windows" {
						t.Errorf("its mode is %s (%v)", info.Mode(), err)
					}
					dbtest.Equal(t, cfg.Path, old.Path)
				})
			})
		}
	}
}

// TestCatchUpLater: the bucket did not answer when the file was opened. When it
// does, the file is brought up to date while it is open, unless it has been written
// to by then.
func TestCatchUpLater(t *testing.T) {
	for _, written := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			cfg := systemtest.Config(t)
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 3)
			systemtest.Check(t, db.Shutdown(ctx))
			old := systemtest.CopyClosed(t, cfg)
			db = systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "ALTER TABLE t ADD COLUMN w DEFAULT 'w'; INSERT INTO t(v) VALUES('more')")
			systemtest.Check(t, db.Shutdown(ctx))

			var away atomic.Bool
			away.Store(true)
			old.Store = objstoretest.Break(cfg.Store, func(objstoretest.Call) objstoretest.Fault {
				if away.Load() {
					return objstoretest.Fault{Kind: objstoretest.Fail}
				}
				return objstoretest.Fault{}
			})
			old.ManualSync, old.Retry.MaxRetries = false, -1
			told := hear(&old)
			var ends error
			if written {
				ends = driftdb.ErrDiverged
			}
			again := systemtest.Open(t, old, systemtest.Ends(ends))
			if written {
				systemtest.Exec(t, again, "INSERT INTO t(v) VALUES('its own')")
			}
			time.Sleep(time.Minute)
			away.Store(false)
			time.Sleep(time.Minute)
			if written {
				if m := again.Metrics(); !errors.Is(m.LastError, driftdb.ErrDiverged) {
					t.Errorf("with changes of its own: %v", m.LastError)
				}
				return
			}
			if again.Sequence() != db.Sequence() || told(driftdb.EventCaughtUp) != 1 {
				t.Fatalf("it is at %d of %d", again.Sequence(), db.Sequence())
			}
			_, err := again.SQL().ExecContext(ctx, "INSERT INTO t(v, w) VALUES('mine', 'x')")
			systemtest.Check(t, err)
			systemtest.Check(t, again.Flush(ctx))
			if m := again.Metrics(); m.Barriers != 0 || m.PendingChanges != 0 {
				t.Errorf("%d barriers, %d changes to send", m.Barriers, m.PendingChanges)
			}
			path := filepath.Join(t.TempDir(), "restored.sqlite")
			_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: path})
			systemtest.Check(t, err)
			dbtest.Equal(t, old.Path, path)
		})
	}
}

// TestCatchUpSlowly: Open waits for a store that is slow, however much there is to
// ask for, and not for one that is silent: then the file is brought up to date when
// it is open.
func TestCatchUpSlowly(t *testing.T) {
	for _, delay := range []time.Duration{400 * time.Millisecond, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			cfg := systemtest.Config(t)
			cfg.MaxBatchSize = 1
			db := systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 3)
			systemtest.Check(t, db.Shutdown(ctx))
			old := systemtest.CopyClosed(t, cfg)
			db = systemtest.Open(t, cfg)
			systemtest.Some(t, db, "t", 20)
			systemtest.Check(t, db.Shutdown(ctx))
			old.Store = objstoretest.Break(cfg.Store, func(objstoretest.Call) objstoretest.Fault {
				return objstoretest.Fault{Delay: delay}
			})
			old.ManualSync = false
			told := hear(&old)
			began := time.Now()
			again := systemtest.Open(t, old)
			took := time.Since(began)
			if patient := delay < time.Second; patient != (again.Sequence() == db.Sequence()) || patient != (took > 2*time.Second) {
				t.Errorf("with requests of %s Open took %s, and is at %d of %d", delay, took, again.Sequence(), db.Sequence())
			}
			time.Sleep(10 * time.Minute)
			if again.Sequence() != db.Sequence() || told(driftdb.EventCaughtUp) != 1 || told(driftdb.EventRestoreNeeded) != 0 {
				t.Errorf("with requests of %s it is at %d of %d in the end", delay, again.Sequence(), db.Sequence())
			}
		})
	}
}

// TestCatchUpCutOff: a machine restores the database, and another one takes it over
// from a point before that, unseen until the first one wants to write. That is refused,
// and with the file moved away it is restored once more.
func TestCatchUpCutOff(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.SyncInterval = time.Millisecond
	a := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, a, "t", 3)
	systemtest.Check(t, a.Flush(ctx))

	early, late := systemtest.Elsewhere(t, cfg), systemtest.Elsewhere(t, cfg)
	late.ManualSync = false
	isSwap := func(c objstoretest.Call) bool {
		return c.Op == objstoretest.Put && strings.HasSuffix(c.Key, "manifest.json")
	}
	reached, goOn, swaps := make(chan bool), make(chan bool), 0
	early.Store = objstoretest.Break(cfg.Store, func(c objstoretest.Call) objstoretest.Fault {
		if isSwap(c) {
			if swaps++; swaps == 2 { // the first one fenced the writer
				close(reached)
				<-goOn
			}
		}
		return objstoretest.Fault{}
	})
	done := make(chan *driftdb.DB)
	go func() {
		db := systemtest.Open(t, early, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('of the one that was faster')")
		systemtest.Check(t, db.Flush(ctx))
		done <- db
	}()
	<-reached
	a.StartSync()
	for range 3 {
		systemtest.Exec(t, a, "INSERT INTO t(v) VALUES('stored behind its back')")
	}
	systemtest.Eventually(t, "all is sent", func() bool { return a.Metrics().PendingChanges == 0 })
	first := true
	var faster *driftdb.DB
	late.Store = objstoretest.Break(cfg.Store, func(c objstoretest.Call) objstoretest.Fault {
		if isSwap(c) && first {
			first = false
			close(goOn)
			faster = <-done
		}
		return objstoretest.Fault{}
	})
	b, err := driftdb.Open(ctx, late)
	systemtest.Check(t, err)
	if _, err := b.Exec(ctx, "INSERT INTO t(v) VALUES('behind that')"); !errors.Is(err, driftdb.ErrDiverged) || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("a write: %v", err)
	}
	systemtest.Check(t, b.Close())
	systemtest.Check(t, os.Rename(late.Path, late.Path+".away"))
	b = systemtest.Open(t, late)
	if told := b.Sequence(); told > 6 {
		t.Errorf("at %d", told)
	}
	systemtest.Exec(t, b, "INSERT INTO t(v) VALUES('goes on')")
	systemtest.Check(t, b.Flush(ctx))
	systemtest.Exec(t, faster, "INSERT INTO t(v) VALUES('has lost the database')")
}
