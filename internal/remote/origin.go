package remote

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/batch"
)

// Parent is the point of another database at which a fork began.
type Parent struct {
	Name       string `json:"dbName"`
	DatabaseID string `json:"databaseId"`
	Sequence   int64  `json:"sequence"`
	Root       string `json:"rootId"` // the id of the database whose chain this history continues
}

// Origin is another database whose objects are part of this one's history: the spans up to
// To that no earlier origin has, and the snapshots in its folder.
//
// Readers may still use the manifest before the last prune. Pruned and Snapshots are what
// that one needed in addition. Pins of the origin keep both.
type Origin struct {
	Name       string   `json:"dbName"`
	DatabaseID string   `json:"databaseId"`
	To         int64    `json:"toSequence"`
	Pruned     int64    `json:"prunedSequence,omitempty"` // as Manifest.Pruned before the last prune
	Snapshots  []string `json:"droppedSnapshots,omitempty"`
}

// home is the database whose folder holds an object, and in whose context it is sealed.
// The zero home is the database whose manifest names the object.
type home struct{ name, databaseID string }

func (o Origin) home() home { return home{o.Name, o.DatabaseID} }

// holds reports whether key is in the origin's folder.
func (o Origin) holds(key string) bool { return strings.HasPrefix(key, folder(o.Name)) }

// home returns where the batches of a span are.
func (m *Manifest) home(s Span) home {
	if s.To != 0 {
		for _, o := range m.Origins {
			if s.To <= o.To {
				return o.home()
			}
		}
	}
	return home{}
}

// own reports whether the batches of a span are in the database's own folder.
func (m *Manifest) own(s Span) bool { return m.home(s) == home{} }

// homeOf returns where a snapshot is.
func (m *Manifest) homeOf(key string) home {
	for _, o := range m.Origins {
		if o.holds(key) {
			return o.home()
		}
	}
	return home{}
}

// sealedIn is the id of the database in whose context a snapshot is sealed.
func (m *Manifest) sealedIn(key string) string {
	if h := m.homeOf(key); h != (home{}) {
		return h.databaseID
	}
	return m.DatabaseID
}

// Genesis is the position before the first change of the history.
func (m *Manifest) Genesis() Position {
	if m.Parent != nil {
		return Position{Chain: batch.Genesis(m.Parent.Root)}
	}
	return Position{Chain: batch.Genesis(m.DatabaseID)}
}

// root is the id of the database whose chain the history continues.
func (m *Manifest) root() string {
	if m.Parent != nil {
		return m.Parent.Root
	}
	return m.DatabaseID
}

// Descends reports whether the history continues that of database id, as far as the
// manifest says: its parent's, the first one's, and those whose objects it still uses.
func (m *Manifest) Descends(id string) bool {
	return m.Parent != nil && (id == m.Parent.DatabaseID || id == m.Parent.Root) ||
		slices.ContainsFunc(m.Origins, func(o Origin) bool { return o.DatabaseID == id })
}

// dropSpent drops the origins that are spent. Prune does that first, so that an origin is
// never dropped together with the last of its objects.
func (m *Manifest) dropSpent() {
	m.Origins = slices.DeleteFunc(slices.Clone(m.Origins), m.spent)
}

// pruneOrigins records what Prune has just removed: the snapshots dropped, and the log up
// to m.Pruned, which was before.
func (m *Manifest) pruneOrigins(before int64, dropped []Snapshot) {
	for i := range m.Origins {
		o := &m.Origins[i]
		o.Pruned, o.Snapshots = before, nil
		for _, s := range dropped {
			if o.holds(s.Key) {
				o.Snapshots = append(o.Snapshots, s.Key)
			}
		}
	}
}

// spent reports whether neither m nor the manifest before the last prune needs anything of
// origin o. That is final. Until the next prune the origin stays, so that a collection sees
// that there may be something to delete.
func (m *Manifest) spent(o Origin) bool {
	return o.To <= o.Pruned && len(o.Snapshots) == 0 && !m.uses(o)
}

// uses reports whether m names a snapshot of origin o.
func (m *Manifest) uses(o Origin) bool {
	return slices.ContainsFunc(m.Snapshots, func(s Snapshot) bool { return o.holds(s.Key) })
}

// needs reports whether this history, or a reader of the manifest before the last prune,
// may need a batch in the folder of origin o.
func (m *Manifest) needs(o Origin, b Batch) bool {
	if b.To <= o.Pruned || b.From > o.To {
		return false
	}
	if b.To <= m.Pruned { // only the manifest before needed it; its spans are no longer known
		return true
	}
	return slices.ContainsFunc(m.Lineage, func(s Span) bool {
		return s.NodeID == b.NodeID && s.Epoch == b.Epoch && b.From <= s.To && b.To >= s.From && m.home(s) == o.home()
	})
}

// checkOrigins rejects origins that no fork has.
func (m *Manifest) checkOrigins() error {
	last := int64(0)
	for _, o := range m.Origins {
		if err := CheckName("origin", o.Name); err != nil {
			return err
		}
		if o.Name == m.Name || o.DatabaseID == "" || o.To < last {
			return fmt.Errorf("its origin %s is out of order", o.Name)
		}
		last = o.To
	}
	if m.Parent == nil && len(m.Origins) > 0 || m.Parent != nil && (m.Parent.Root == "" || m.Parent.Sequence < last) {
		return errors.New("it does not say where it was forked")
	}
	if writer := m.Lineage[len(m.Lineage)-1]; writer.From <= last {
		return errors.New("its writer's span is another database's")
	}
	for _, s := range m.Lineage {
		for _, o := range m.Origins {
			if s.From <= o.To && s.To > o.To {
				return fmt.Errorf("its span from %d crosses the end of its origin %s", s.From, o.Name)
			}
		}
	}
	return nil
}
