package repair

import (
	"cmp"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// A history is identified by its end: the chain there commits to every change before it.
// So the positions that batches lead to form trees. Their roots are the beginning of the
// database and every place where a batch continues something that is gone. What a stretch
// holds does not depend on the session that it is read from.
type forest struct {
	into map[remote.Position][]step
	root map[remote.Position]remote.Position // the root of each position's tree
}

// step leads to a position by way of a batch.
type step struct {
	from  remote.Position
	batch remote.Batch
}

// path is the history from a root to an end.
type path struct {
	root, end remote.Position
	spans     []remote.Span // closed
	node      string        // the node that wrote last
	epoch     int64         // of that node's session
	holds     map[remote.Position]bool
}

func plant(genesis remote.Position, pieces []remote.Piece) *forest {
	f := &forest{into: map[remote.Position][]step{}, root: map[remote.Position]remote.Position{}}
	next := map[remote.Position][]remote.Position{}
	for _, p := range pieces {
		for i, to := range p.Marks[1:] {
			from := p.Marks[i]
			f.into[to] = append(f.into[to], step{from, p.Batch})
			next[from] = append(next[from], to)
		}
	}
	roots := []remote.Position{genesis}
	for from := range next {
		if len(f.into[from]) == 0 && from != genesis {
			roots = append(roots, from)
		}
	}
	for _, root := range roots {
		f.root[root] = root
		for todo := next[root]; len(todo) > 0; {
			at := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if _, seen := f.root[at]; !seen {
				f.root[at] = root
				todo = append(todo, next[at]...)
			}
		}
	}
	return f
}

// paths returns the best history for each root, the best one first. At a fork that is the
// one that the latest session continues: it has taken over from all others, and what they
// stored afterwards are branches. A branch's manifest says itself where the branch
// begins.
func (f *forest) paths(branches []remote.Batch) []path {
	left := map[string]int64{}
	for _, br := range branches {
		if from, ok := left[br.Session()]; !ok || br.From < from {
			left[br.Session()] = br.From
		}
	}
	best := map[remote.Position]path{}
	for at, steps := range f.into {
		for _, s := range steps {
			if from, ok := left[s.batch.Session()]; ok && at.Sequence >= from {
				continue
			}
			p := path{root: f.root[at], end: at, node: s.batch.NodeID, epoch: s.batch.Epoch}
			if was, ok := best[p.root]; !ok || better(p, was) < 0 {
				best[p.root] = p
			}
		}
	}
	var out []path
	for _, p := range best {
		out = append(out, f.trace(p))
	}
	slices.SortFunc(out, better)
	return out
}

func better(x, y path) int {
	return cmp.Or(cmp.Compare(y.epoch, x.epoch), cmp.Compare(y.end.Sequence, x.end.Sequence),
		strings.Compare(x.node, y.node), slices.Compare(x.end.Chain[:], y.end.Chain[:]))
}

// trace fills in the sessions that p is read from, from its end backwards. It stays with
// one session for as long as that has what comes before, then prefers the latest earlier
// one that does.
func (f *forest) trace(p path) path {
	p.holds = map[remote.Position]bool{p.end: true}
	node, epoch := p.node, p.epoch
	for at := p.end; at != p.root; {
		s := slices.MaxFunc(f.into[at], func(x, y step) int {
			return cmp.Or(cmp.Compare(rank(x.batch, node, epoch), rank(y.batch, node, epoch)), cmp.Compare(x.batch.Epoch, y.batch.Epoch),
				strings.Compare(x.batch.NodeID, y.batch.NodeID))
		})
		node, epoch = s.batch.NodeID, s.batch.Epoch
		if n := len(p.spans); n > 0 && p.spans[n-1].NodeID == node && p.spans[n-1].Epoch == epoch {
			p.spans[n-1].From = s.from.Sequence + 1
		} else {
			p.spans = append(p.spans, remote.Span{NodeID: node, Epoch: epoch, From: s.from.Sequence + 1, To: at.Sequence})
		}
		at = s.from
		p.holds[at] = true
	}
	slices.Reverse(p.spans)
	return p
}

// rank is how well a batch precedes what the session of node and epoch stored.
func rank(o remote.Batch, node string, epoch int64) int {
	switch {
	case o.NodeID == node && o.Epoch == epoch:
		return 2
	case o.Epoch < epoch:
		return 1
	}
	return 0
}

// cut ends p at an earlier position.
func (p path) cut(at remote.Position) path {
	p.end = at
	p.spans = slices.Clone(p.spans)
	for n := len(p.spans); n > 0 && p.spans[n-1].From > at.Sequence; n-- {
		p.spans = p.spans[:n-1]
	}
	if n := len(p.spans); n > 0 {
		p.spans[n-1].To = at.Sequence
	}
	return p
}

// has reports whether all of a batch lies on p.
func (p path) has(o remote.Piece) bool {
	return !slices.ContainsFunc(o.Marks, func(at remote.Position) bool { return !p.holds[at] || at.Sequence > p.end.Sequence })
}
