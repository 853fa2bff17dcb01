//go:build unix

package syncer_test

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

type user struct {
	driftdb.Base
	Name  string
	Email string `db:",unique"`
	Age   int
}

// BenchmarkUpload reports the CPU time that a row takes on its way from the log into the
// store, in all of the process: the log is read, encoded, digested and chained, the
// batches are compressed and, with keys, encrypted, and each is claimed and
// acknowledged in the file. It ends where the manifest is swapped: trimming the log comes
// after that. One transaction a row, and all rows in one.
func BenchmarkUpload(b *testing.B) {
	for _, keys := range [][]string{nil, {strings.Repeat("0123456789abcdef", 4)}} {
		form := "plain"
		if keys != nil {
			form = "encrypted"
		}
		b.Run(form+"/single", func(b *testing.B) { benchmarkUpload(b, keys, 1) })
		b.Run(form+"/together", func(b *testing.B) { benchmarkUpload(b, keys, benchRows) })
	}
}

const benchRows = 60_000

func benchmarkUpload(b *testing.B, keys []string, together int) {
	ctx := b.Context()
	store := &meter{Store: objstore.Mem()}
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "app", Path: filepath.Join(b.TempDir(), "app.sqlite"), Store: store, ManualSync: true, EncryptionKeys: keys, SnapshotEvery: 1 << 30,
	})
	must(b, err)
	defer db.Close()
	users, err := driftdb.Define[user](ctx, db, "users")
	must(b, err)
	must(b, db.Flush(ctx))
	var took, sent int64
	var n int
	for b.Loop() {
		for first := 0; first < benchRows; first += together {
			rows := make([]user, together)
			for i := range rows {
				n++
				name := given[n*7919%len(given)] + " " + family[n*104729%len(family)]
				rows[i] = user{Name: name, Email: fmt.Sprintf("user%d@example.com", n*7919%1_000_003), Age: n * 31 % 90}
			}
			_, err := users.CreateMany(ctx, rows)
			must(b, err)
		}
		rest()
		cpu, bytes := cpuTime(), store.batches
		must(b, db.Flush(ctx))
		took, sent = took+store.swapped-cpu, sent+store.batches-bytes
	}
	rows := float64(b.N) * benchRows
	b.ReportMetric(float64(took)/rows, "cpu-ns/row")
	b.ReportMetric(float64(sent)/rows, "B/row")
	b.ReportMetric(0, "ns/op")
}

// meter counts what batches weigh, and notes how much the process had used when the
// manifest was swapped last.
type meter struct {
	objstore.Store
	batches, swapped int64
	mu               sync.Mutex
}

func (m *meter) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	now := cpuTime()
	info, err := m.Store.Put(ctx, key, body, opts)
	m.mu.Lock()
	defer m.mu.Unlock()
	if strings.Contains(key, "/logs/") {
		m.batches += info.Size
	} else {
		m.swapped = now
	}
	return info, err
}

// rest returns when nothing works in the background any more, such as the checkpoint
// of what was just written.
func rest() {
	runtime.GC()
	for busy := true; busy; {
		used := cpuTime()
		time.Sleep(20 * time.Millisecond)
		busy = cpuTime()-used > time.Millisecond.Nanoseconds()
	}
}

var (
	given  = []string{"Alice", "Bob", "Carol", "Dan", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy", "Mallory", "Niaj"}
	family = []string{"Smith", "Jones", "Brown", "Garcia", "Miller", "Davis", "Wilson", "Moore", "Taylor", "Lee", "Clark", "Hall"}
)

// cpuTime is what the process has used so far, in nanoseconds.
func cpuTime() int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return syscall.TimevalToNsec(r.Utime) + syscall.TimevalToNsec(r.Stime)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
