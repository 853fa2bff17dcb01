package past_test

import (
	"context"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// counting counts what is read from a store.
type counting struct {
	objstore.Store
	mu   sync.Mutex
	gets map[string]int // by key
	list int            // pages of a listing, as requests to S3
}

func (s *counting) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	s.mu.Lock()
	s.gets[key]++
	s.mu.Unlock()
	return s.Store.Get(ctx, key, opts)
}

func (s *counting) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	s.mu.Lock()
	s.list++
	s.mu.Unlock()
	return s.Store.List(ctx, prefix, opts)
}

// take returns what was counted, and begins again.
func (s *counting) take() (gets map[string]int, lists int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gets, lists = s.gets, s.list
	s.gets, s.list = map[string]int{}, 0
	return gets, lists
}

// TestPastRequests: what views and restores a point reads one snapshot and the batches from
// there to the point, each once, and nothing that is later or earlier.
func TestPastRequests(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	store := &counting{Store: cfg.Store, gets: map[string]int{}}
	cfg.Store = store
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	var points []int64 // the ends of batches, of which every tenth is a snapshot
	for i := range 40 {
		systemtest.Some(t, db, "t", 1)
		systemtest.Check(t, db.Flush(ctx))
		if i%10 == 9 {
			systemtest.Must(db.Snapshot(ctx))
		}
		points = append(points, db.Sequence())
	}
	b := db.Backup()
	for _, way := range []struct {
		name string
		read func(driftdb.Point) error
	}{
		{"View", func(p driftdb.Point) error {
			v, err := b.View(ctx, p)
			if err == nil {
				err = v.Close()
			}
			return err
		}},
		{"Restore", func(p driftdb.Point) error {
			return systemtest.ErrorOf(b.Restore(ctx, filepath.Join(t.TempDir(), "copy"), driftdb.RestoreOptions{At: p}))
		}},
		{"RestoreTables", func(p driftdb.Point) error {
			return systemtest.ErrorOf(b.RestoreTables(ctx, filepath.Join(t.TempDir(), "copy"), driftdb.TablesOptions{At: p, Tables: []string{"t"}}))
		}},
	} {
		for _, at := range []int{9, 12, 17, 39} { // batches; the snapshots are after 9, 19, 29, 39
			store.take()
			systemtest.Check(t, way.read(driftdb.Point{Sequence: points[at]}))
			gets, lists := store.take()
			kinds := map[string]int{}
			for key, n := range gets {
				kind := "another object"
				for _, part := range []string{"manifest", "/snapshots/", "/logs/"} {
					if strings.Contains(key, part) {
						kind = strings.Trim(part, "/")
					}
				}
				if kinds[kind] += n; n > 1 && kind != "manifest" {
					t.Errorf("%s at %d reads %s %d times", way.name, at, key, n)
				}
			}
			if kinds["snapshots"] != 1 || kinds["logs"] != (at-9)%10 || kinds["manifest"] > 1 || len(kinds) > 3 || lists > 1 {
				t.Errorf("%s after batch %d reads %v in %d listings; the snapshot is after batch %d", way.name, at, kinds, lists, at-(at-9)%10)
				for key, n := range gets {
					t.Log(key, n)
				}
			}
		}
	}
}
