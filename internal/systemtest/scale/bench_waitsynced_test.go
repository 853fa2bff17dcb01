package scale_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// onServer opens a database in a new bucket of a real S3 server, and counts the batches
// that are sent there, merged ones included.
func onServer(b *testing.B, server *s3test.Server, cfg driftdb.Config) (*driftdb.DB, *objstoretest.Counting, *atomic.Int64) {
	b.Helper()
	store, err := s3store.New(b.Context(), s3store.Config{
		Bucket: server.NewBucket(b), Region: server.Region, Endpoint: server.Endpoint, AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
	})
	systemtest.Check(b, err)
	batches := new(atomic.Int64)
	counting := objstoretest.Count(objstoretest.Break(store, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put && strings.Contains(c.Key, "/logs/") {
			batches.Add(1)
		}
		return objstoretest.Fault{}
	}))
	cfg.Name, cfg.Path, cfg.Store = "app", filepath.Join(b.TempDir(), "app.sqlite"), objstore.Store(counting)
	db, err := driftdb.Open(b.Context(), cfg)
	systemtest.Check(b, err)
	b.Cleanup(func() { systemtest.Check(b, db.Close()) })
	return db, counting, batches
}

// BenchmarkWaitSynced lets goroutines create users one by one, and wait for each to be in
// the bucket, for DRIFTDB_SECONDS. It reports how long that takes from the call of Create
// on, and what is sent.
func BenchmarkWaitSynced(b *testing.B) {
	lasts := time.Duration(systemtest.Setting(b, "DRIFTDB_SECONDS", 20)) * time.Second
	server := s3test.Start(b)
	for _, goroutines := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			ctx := b.Context()
			db, store, batches := onServer(b, server, driftdb.Config{})
			users := systemtest.Define[benchUser](b, db, "users")
			systemtest.Check(b, db.Flush(ctx))
			var took []time.Duration
			for b.Loop() {
				store.Reset()
				batches.Store(0)
				took = waitFor(b, lasts, goroutines, func(i int) error {
					if _, err := users.Create(ctx, newBenchUser(i)); err != nil {
						return err
					}
					return db.WaitSynced(ctx, db.Sequence())
				})
				seconds := lasts.Seconds()
				b.ReportMetric(float64(len(took))/seconds, "changes/s")
				b.ReportMetric(float64(batches.Load())/seconds, "batches/s")
				b.ReportMetric(float64(store.Tally(objstoretest.Put).Calls)/seconds, "PUT/s")
				b.ReportMetric(float64(store.Tally(objstoretest.Get).Calls)/seconds, "GET/s")
			}
			reportTimes(b, took)
		})
	}
}

// waitFor calls do in many goroutines for a while, and returns how long each call took, in
// order of time.
func waitFor(b *testing.B, lasts time.Duration, goroutines int, do func(i int) error) (all []time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), lasts)
	defer cancel()
	var mu sync.Mutex
	var calls sync.WaitGroup
	var n atomic.Int64
	for range goroutines {
		calls.Go(func() {
			var own []time.Duration
			for ctx.Err() == nil {
				began := time.Now()
				if err := do(int(n.Add(1))); err != nil {
					b.Error(err)
					return
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	calls.Wait()
	return all
}

func reportTimes(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	at := func(p float64) float64 {
		return took[int(p*float64(len(took)-1))].Seconds() * 1000
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFlush creates a user and flushes, 300 times.
func BenchmarkFlush(b *testing.B) {
	server := s3test.Start(b)
	for b.Loop() {
		ctx := b.Context()
		db, _, _ := onServer(b, server, driftdb.Config{})
		users := systemtest.Define[benchUser](b, db, "users")
		systemtest.Check(b, db.Flush(ctx))
		took := make([]time.Duration, 300)
		for i := range took {
			_, err := users.Create(ctx, newBenchUser(i))
			systemtest.Check(b, err)
			began := time.Now()
			systemtest.Check(b, db.Flush(ctx))
			took[i] = time.Since(began)
		}
		reportTimes(b, took)
	}
}
