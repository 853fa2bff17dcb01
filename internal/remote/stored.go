package remote

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// StoredBatch is a batch as the listing shows it.
type StoredBatch struct {
	Batch           // From and To are the changes in it that count
	Time  time.Time // when it was stored, by the store's clock
}

// HistoryBatches lists the batches in the database's own folder that hold the history that
// m describes, oldest first, by their names alone: nothing is read. Batches that a wider
// one covers are left out.
func (b *Bucket) HistoryBatches(ctx context.Context, m *Manifest) (all []StoredBatch, err error) {
	for o, err := range b.objects(ctx) {
		if err != nil {
			return nil, err
		}
		if part, counts := m.counted(o.batch); counts && o.kind == batchObject {
			all = append(all, StoredBatch{part, o.ModTime})
		}
	}
	slices.SortFunc(all, func(x, y StoredBatch) int {
		return cmp.Or(cmp.Compare(x.From, y.From), cmp.Compare(y.To, x.To))
	})
	last := int64(0)
	return slices.DeleteFunc(all, func(o StoredBatch) bool {
		covered := o.To <= last
		last = max(last, o.To)
		return covered
	}), nil
}

// counted cuts batch o to the changes that the history counts, which ends where another
// session took over; false if there are none.
func (m *Manifest) counted(o Batch) (Batch, bool) {
	for _, s := range m.Lineage {
		if s.NodeID == o.NodeID && s.Epoch == o.Epoch && m.own(s) {
			if o.From = max(o.From, s.From); s.To != 0 {
				o.To = min(o.To, s.To)
			}
			return o, o.From <= o.To && o.To > m.Begins()
		}
	}
	return o, false
}

// Missing lists, for people, what m needs of the database's own folder and a listing does not
// have: snapshots, and stretches of the log. Nothing is read.
func (b *Bucket) Missing(ctx context.Context, m *Manifest) (missing []string, err error) {
	batches, err := b.HistoryBatches(ctx, m)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for o, err := range b.objects(ctx) {
		if err != nil {
			return nil, err
		}
		there[o.Key] = true
	}
	for _, s := range m.Snapshots {
		if strings.HasPrefix(s.Key, nodesFolder(b.name)) && !there[s.Key] {
			missing = append(missing, "snapshot "+s.Key)
		}
	}
	for _, s := range m.Lineage {
		from, to := max(s.From, m.Begins()+1), m.LatestSequence
		if s.To != 0 {
			to = min(to, s.To)
		}
		if !m.own(s) || from > to {
			continue
		}
		for _, o := range batches {
			if o.NodeID != s.NodeID || o.Epoch != s.Epoch || o.To < from {
				continue
			}
			if o.From > from {
				missing = append(missing, fmt.Sprintf("changes %d to %d", from, o.From-1))
			}
			from = o.To + 1
		}
		if from <= to {
			missing = append(missing, fmt.Sprintf("changes %d to %d", from, to))
		}
	}
	return missing, nil
}
