package backup_test

import (
	"errors"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestBatches: the batches that are listed are those of the history, without gaps and
// without a branch, also once small ones are merged; and the writers are those of the
// history.
func TestBatches(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.MaxBatchSize = 2
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	for range 70 {
		systemtest.Some(t, first, "t", 1)
		systemtest.Check(t, first.Flush(ctx))
	}
	takeOver(t, cfg)
	systemtest.Some(t, first, "t", 9)
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("flush of the one that lost: %v", err)
	}
	info := systemtest.Backup(t, cfg)
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store})
	systemtest.Check(t, err)
	batches, err := b.Batches(ctx)
	systemtest.Check(t, err)
	next, bytes := info.First, int64(0)
	for _, o := range batches {
		if o.From != next || o.To < o.From || o.Bytes == 0 || o.Time.IsZero() {
			t.Errorf("batch %+v, want one from %d", o, next)
		}
		next, bytes = o.To+1, bytes+o.Bytes
	}
	if next != info.Sequence+1 || bytes > info.Bytes {
		t.Errorf("the batches end at %d with %d bytes of %d, and the history at %d", next-1, bytes, info.Bytes, info.Sequence)
	}
	w := info.Writers
	if len(w) != 2 || w[0].NodeID != first.NodeID() || w[0].From != 1 || w[0].To+1 != w[1].From || w[1].To != 0 || w[1].NodeID != info.NodeID || w[1].Epoch != info.Epoch {
		t.Errorf("writers %+v", w)
	}
}
