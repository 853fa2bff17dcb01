package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/segment"
)

// ErrNoBranch says that the bucket has no branch of that name.
var ErrNoBranch = errors.New("no such branch")

// Branch is what a session has stored that is no part of the history: another
// writer had taken the database over. It leaves the history before From.
type Branch struct {
	NodeID   string
	Epoch    int64
	From, To int64
	Objects  int
	Bytes    int64
	Time     time.Time // when the newest of its objects was stored
}

// ID names the branch within its database.
func (b Branch) ID() string { return fmt.Sprintf("%s.e%d", b.NodeID, b.Epoch) }

// Branches lists the branches beside the history that m describes, oldest
// epoch first. It lists all objects.
func (b *Bucket) Branches(ctx context.Context, m *Manifest) ([]Branch, error) {
	found := map[string]*Branch{}
	for o, err := range b.objects(ctx) {
		if err != nil {
			return nil, err
		}
		from, orphan := m.orphaned(o.batch)
		if !o.isBatch || !orphan {
			continue
		}
		br := Branch{NodeID: o.batch.NodeID, Epoch: o.batch.Epoch, From: from}
		if known := found[br.ID()]; known != nil {
			br = *known
		}
		br.From, br.To = min(br.From, from), max(br.To, o.batch.To)
		br.Objects, br.Bytes = br.Objects+1, br.Bytes+o.Size
		if o.ModTime.After(br.Time) {
			br.Time = o.ModTime
		}
		found[br.ID()] = &br
	}
	out := make([]Branch, 0, len(found))
	for _, br := range found {
		out = append(out, *br)
	}
	slices.SortFunc(out, func(x, y Branch) int {
		return cmp.Or(cmp.Compare(x.Epoch, y.Epoch), strings.Compare(x.NodeID, y.NodeID))
	})
	return out, nil
}

// orphaned says whether batch o holds something that is no part of the history,
// and from which sequence on. What has been pruned is merely old, and
// what is newer than the manifest belongs to a writer of whom m does not know.
func (m *Manifest) orphaned(o Batch) (from int64, orphan bool) {
	if o.To <= m.Pruned || o.To < m.Lineage[0].From || o.Epoch > m.Epoch {
		return 0, false
	}
	for _, s := range m.Lineage {
		if s.NodeID == o.NodeID && s.Epoch == o.Epoch {
			return max(s.To+1, o.From), s.To != 0 && o.To > s.To
		}
	}
	return o.From, true
}

// Branch returns a manifest for the history up to where the branch named id
// leaves it, and the branch from there on.
func (b *Bucket) Branch(ctx context.Context, m *Manifest, id string) (*Manifest, error) {
	branches, err := b.Branches(ctx, m)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(branches, func(br Branch) bool { return br.ID() == id })
	if i >= 0 {
		return m.onto(branches[i]), nil
	}
	names := make([]string, len(branches))
	for i, br := range branches {
		names[i] = br.ID()
	}
	return nil, fmt.Errorf("%w: %q; database %q has %d: %s", ErrNoBranch, id, b.name, len(names), strings.Join(names, " "))
}

// onto makes br the end of the history. Nothing but the snapshots is taken for
// confirmed: the chain has to prove the rest.
func (m *Manifest) onto(br Branch) *Manifest {
	c, left := m.Clone(), br.From-1
	c.NodeID, c.Epoch = br.NodeID, br.Epoch
	c.Snapshots = slices.DeleteFunc(c.Snapshots, func(s Snapshot) bool { return s.Sequence > left })
	c.LatestSequence, c.ChainHead = 0, segment.Genesis(m.DatabaseID)
	if n := len(c.Snapshots); n > 0 {
		c.LatestSequence, c.ChainHead = c.Snapshots[n-1].Sequence, c.Snapshots[n-1].Chain
	}
	c.Lineage = slices.DeleteFunc(c.Lineage, func(s Span) bool { return s.From > left })
	if n := len(c.Lineage); n > 0 {
		last := &c.Lineage[n-1]
		if last.To == 0 || last.To > left {
			last.To = left
		}
		if last.NodeID == br.NodeID && last.Epoch == br.Epoch {
			last.To = 0
			return c
		}
	}
	c.Lineage = append(c.Lineage, Span{NodeID: br.NodeID, Epoch: br.Epoch, From: br.From})
	return c
}
