package follow_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// mute is a store that cannot tell when something is stored, counts the reads, and may hang.
type mute struct {
	objstore.Store
	gets  atomic.Int64
	hangs atomic.Bool
	holds atomic.Pointer[chan struct{}] // reads wait until it is closed
	deny  atomic.Int64                  // so many reads are refused
}

func (m *mute) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	m.gets.Add(1)
	if holds := m.holds.Load(); holds != nil {
		<-*holds
	}
	if m.deny.Add(-1) >= 0 {
		return nil, objstore.Info{}, fs.ErrPermission
	}
	if m.hangs.Load() {
		<-ctx.Done()
		return nil, objstore.Info{}, context.Cause(ctx)
	}
	return m.Store.Get(ctx, key, opts)
}

// bubble runs fn with a writer and a follower of it whose times are not real.
func bubble(t *testing.T, cfg driftdb.FollowConfig, fn func(t *testing.T, p *pair, store *mute)) {
	synctest.Test(t, func(t *testing.T) {
		p := newWriter(t)
		store := &mute{Store: p.cfg.Store}
		b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: p.cfg.Name, Store: store})
		systemtest.Check(t, err)
		var heard driftdb.Config
		p.events = systemtest.Listen(&heard)
		cfg.OnEvent = heard.OnEvent
		p.Follower, err = b.Follow(t.Context(), filepath.Join(t.TempDir(), "follower.sqlite"), cfg)
		systemtest.Check(t, err)
		defer func() { systemtest.Check(t, p.Close()) }()
		fn(t, p, store)
	})
}

// pass lets time pass, and then everything that is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestInterval: the store is asked at the interval while something comes, and up to once a
// minute while nothing does: one conditional read each time.
func TestInterval(t *testing.T) {
	bubble(t, driftdb.FollowConfig{PollInterval: time.Second}, func(t *testing.T, p *pair, store *mute) {
		pass(4 * time.Minute)
		before, polls := store.gets.Load(), p.Metrics().Polls
		pass(time.Hour)
		if n := store.gets.Load() - before; n < 59 || n > 61 {
			t.Errorf("%d requests in an hour in which nothing came", n)
		}
		if m := p.Metrics(); m.Polls-polls != store.gets.Load()-before || m.Unchanged < m.Polls-2 || m.Lag > time.Minute {
			t.Errorf("metrics: %+v", m)
		}
		systemtest.Some(t, p.db, "t", 1)
		systemtest.Check(t, p.db.Flush(t.Context()))
		p.wait(t)
		for range 20 {
			systemtest.Some(t, p.db, "t", 1)
			systemtest.Check(t, p.db.Flush(t.Context()))
			pass(time.Second + time.Millisecond)
			if p.Sequence() != p.db.Sequence() {
				t.Fatalf("after the interval, the follower is at %d, not at %d", p.Sequence(), p.db.Sequence())
			}
		}
	})
}

// TestWaitAsks: who waits does not wait for the next poll.
func TestWaitAsks(t *testing.T) {
	bubble(t, driftdb.FollowConfig{PollInterval: time.Minute}, func(t *testing.T, p *pair, _ *mute) {
		pass(time.Hour)
		began := time.Now()
		waits := systemtest.InGoroutine(func() error { return p.WaitFor(t.Context(), p.db.Sequence()+1) })
		synctest.Wait()
		pass(10 * time.Second)
		systemtest.Some(t, p.db, "t", 1)
		systemtest.Check(t, p.db.Flush(t.Context()))
		if err := <-waits; err != nil || time.Since(began) > 30*time.Second {
			t.Errorf("%v, after %s", err, time.Since(began))
		}
		began = time.Now()
		systemtest.Some(t, p.db, "t", 1)
		systemtest.Check(t, p.db.Flush(t.Context()))
		if err := p.WaitFor(t.Context(), p.db.Sequence()); err != nil || time.Since(began) > time.Second {
			t.Errorf("%v, after %s", err, time.Since(began))
		}
	})
}

// TestWaitAsksAnew: what a poll finds that began before the wait is not its outcome.
func TestWaitAsksAnew(t *testing.T) {
	bubble(t, driftdb.FollowConfig{PollInterval: time.Minute}, func(t *testing.T, p *pair, store *mute) {
		systemtest.Some(t, p.db, "t", 1)
		systemtest.Check(t, p.db.Flush(t.Context()))
		holds := make(chan struct{})
		store.holds.Store(&holds)
		pass(time.Minute) // a poll has begun
		waits := systemtest.InGoroutine(func() error { return p.WaitFor(t.Context(), p.db.Sequence()) })
		synctest.Wait()
		store.deny.Store(2) // a refusal is doubted once
		close(holds)
		if err := <-waits; err != nil {
			t.Error(err)
		}
		if m := p.Metrics(); m.Failures != 1 || store.deny.Load() > 0 {
			t.Errorf("the poll was not refused: %+v", m)
		}
		store.deny.Store(2)
		if err := p.WaitFor(t.Context(), p.db.Sequence()+1); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("refused: %v", err)
		}
	})
}

// TestStall: a store that is silent is told after a minute, once, and also that it is back.
func TestStall(t *testing.T) {
	bubble(t, driftdb.FollowConfig{}, func(t *testing.T, p *pair, store *mute) {
		store.hangs.Store(true)
		systemtest.Some(t, p.db, "t", 1)
		systemtest.Check(t, p.db.Flush(t.Context()))
		pass(10 * time.Minute)
		if m := p.Metrics(); !m.Stalled || m.LastError == nil || p.Err() != nil || m.Lag < 9*time.Minute {
			t.Errorf("metrics: %+v, %v", m, p.Err())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.WaitFor(ctx, p.db.Sequence()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		store.hangs.Store(false)
		pass(3 * time.Minute)
		if m := p.Metrics(); m.Stalled || m.LastError != nil || p.Sequence() != p.db.Sequence() || m.Lag > time.Minute {
			t.Errorf("metrics: %+v", m)
		}
		counts := map[driftdb.EventKind]int{}
		p.events.Mu.Lock()
		defer p.events.Mu.Unlock()
		for _, e := range p.events.List {
			counts[e.Kind]++
		}
		for _, kind := range []driftdb.EventKind{driftdb.EventFollowFailed, driftdb.EventFollowStalled, driftdb.EventFollowResumed} {
			if counts[kind] != 1 {
				t.Errorf("%d events of the kind %s: %v", counts[kind], kind, counts)
			}
		}
	})
}

// TestConfig: a PollInterval that cannot be meant is an error.
func TestConfig(t *testing.T) {
	p := newWriter(t)
	for _, d := range []time.Duration{-1, time.Millisecond, 2 * time.Hour} {
		f, err := p.backup(t).Follow(t.Context(), p.path, driftdb.FollowConfig{PollInterval: d})
		if err == nil {
			t.Errorf("PollInterval %s: no error", d)
			systemtest.Check(t, f.Close())
		}
	}
	if systemtest.Exists(p.path) {
		t.Error("there is a file")
	}
}
