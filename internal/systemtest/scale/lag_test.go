package scale_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestLag measures how far a follower is behind a writer that commits 100 times a second,
// from the commit to the moment at which the follower shows it, and what both ask of the
// store: under load, and when nothing is written. DRIFTDB_LAG is for how many seconds each
// is measured; "make lag" does two minutes.
func TestLag(t *testing.T) {
	seconds := systemtest.Setting(t, "DRIFTDB_LAG", 0)
	if seconds == 0 {
		t.Skip("it measures: run make lag")
	}
	srv := s3test.Start(t)
	t.Logf("| ManifestInterval | PollInterval | p50 | p99 | writer, requests a minute | follower, requests a minute | idle: writer, follower |")
	for _, l := range []*lag{
		{manifest: time.Second, poll: time.Second},
		{manifest: 5 * time.Second, poll: 5 * time.Second},
		{manifest: time.Minute, poll: 5 * time.Second},
	} {
		t.Run(fmt.Sprint(l.manifest, " ", l.poll), func(t *testing.T) {
			l.measure(t, srv, time.Duration(seconds)*time.Second)
		})
	}
}

// lag is a pair of intervals, and what is measured with them.
type lag struct {
	manifest, poll time.Duration

	mu      sync.Mutex
	commits []commit // not shown yet, in order
	delays  []time.Duration
}

type commit struct {
	sequence int64
	at       time.Time
}

func (l *lag) measure(t *testing.T, srv *s3test.Server, d time.Duration) {
	ctx := t.Context()
	s3 := &driftdb.S3Config{
		Bucket: srv.NewBucket(t), Region: srv.Region, Endpoint: srv.Endpoint, AccessKeyID: srv.AccessKey, SecretAccessKey: srv.SecretKey,
	}
	db := systemtest.Open(t, driftdb.Config{
		Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), S3: s3, SyncInterval: time.Second, ManifestInterval: l.manifest,
	})
	systemtest.Exec(t, db, "CREATE TABLE t(n INTEGER PRIMARY KEY, text TEXT)")
	systemtest.Check(t, db.Flush(ctx))
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: "app", S3: s3})
	systemtest.Check(t, err)
	f, err := b.Follow(ctx, filepath.Join(t.TempDir(), "follower.sqlite"), driftdb.FollowConfig{PollInterval: l.poll})
	systemtest.Check(t, err)
	defer func() { systemtest.Check(t, f.Close()) }()

	looking, stop := context.WithCancel(ctx)
	var looks sync.WaitGroup
	looks.Go(func() { l.look(looking, f) })
	requests := func() [2]int64 { return [2]int64{db.Metrics().Requests, f.Metrics().Requests} }
	began, before := time.Now(), requests()
	for ticks := time.NewTicker(10 * time.Millisecond); time.Since(began) < d; <-ticks.C {
		l.commit(t, db)
	}
	loaded := rates(before, requests(), time.Since(began))
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Check(t, f.WaitFor(ctx, db.Sequence()))
	stop()
	looks.Wait()

	time.Sleep(d) // in which the intervals grow
	began, before = time.Now(), requests()
	time.Sleep(d)
	idle := rates(before, requests(), time.Since(began))
	slices.Sort(l.delays)
	at := func(p int) time.Duration { return l.delays[(len(l.delays)-1)*p/100].Round(10 * time.Millisecond) }
	t.Logf("| %s | %s | %s | %s | %.0f | %.0f | %.1f, %.1f |", l.manifest, l.poll, at(50), at(99), loaded[0], loaded[1], idle[0], idle[1])
	t.Logf("%d commits, the longest %s; follower: %+v", len(l.delays), at(100), f.Metrics())
}

func rates(before, after [2]int64, d time.Duration) [2]float64 {
	return [2]float64{float64(after[0]-before[0]) / d.Minutes(), float64(after[1]-before[1]) / d.Minutes()}
}

func (l *lag) commit(t *testing.T, db *driftdb.DB) {
	systemtest.Exec(t, db, "INSERT INTO t(text) VALUES(hex(randomblob(20)))")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits = append(l.commits, commit{db.Sequence(), time.Now()})
}

// look notes when commits can be read. It reads a number in memory each millisecond.
func (l *lag) look(ctx context.Context, f *driftdb.Follower) {
	for ticks := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-ticks.C {
		shown := f.Sequence()
		l.mu.Lock()
		for len(l.commits) > 0 && l.commits[0].sequence <= shown {
			l.delays = append(l.delays, time.Since(l.commits[0].at))
			l.commits = l.commits[1:]
		}
		l.mu.Unlock()
	}
}
