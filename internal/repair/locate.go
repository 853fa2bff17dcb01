package repair

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// A snapshot does not say which change is the last one in it, but its rows tell. Each
// change says what it adds to the digests of tables, and each batch gives the digests at
// its end. So the digests at every other position can be computed, forwards and
// backwards. A snapshot may belong wherever they equal its own.
//
// This takes two walks over the history. In both, a table's sum is relative to its sum at
// the beginning of a stretch over which the log records everything that happens to the
// table. The first walk learns that initial sum from the first batch that gives a later
// one.
type locator struct {
	tables    []string // of all snapshots, sorted by name
	snapshots []*snapshot
	spans     []remote.Span // of the history
	known     *Known        // from the database's file, for one position
	starts    []*digest.Sum // the table's sum at the beginning of each stretch; nil if unknown
	searching bool          // in the second walk

	state
	ledger *digest.Ledger // the tables' relative sums
	saved  state          // before the batch
	sums   digest.Set     // the relative sums before the batch
	from   remote.Position
	found  []found // in the batch
}

// state is what a batch that turns out to be unusable must not change.
type state struct {
	stretches map[string]int // the current stretch of each table
	count     int            // of stretches begun
	barriers  []int64        // sequences
	schemas   int            // how many schema changes and barriers so far
}

func (s state) clone() state {
	return state{maps.Clone(s.stretches), s.count, slices.Clone(s.barriers), s.schemas}
}

// found is a place where a snapshot may belong.
type found struct {
	snapshot *snapshot
	candidate
}

// candidate is such a place: the last change in the snapshot, its time, and an earlier
// position from which a walk leads there.
type candidate struct {
	sequence, time int64
	from           remote.Position
	schemas        int  // state.schemas at that place
	doubtful       bool // not all tables are known there, so the place can only rule out others
}

// locate finds where on p, which m describes, each snapshot may belong, and where
// barriers are. genesis means that the history begins with an empty database, where all
// sums are known.
func locate(ctx context.Context, b *remote.Bucket, m *remote.Manifest, p path, genesis bool, snapshots []*snapshot, known *Known) (barriers []int64, err error) {
	tables := map[string]bool{}
	for _, s := range snapshots {
		s.candidates = nil
		for table := range s.Digests {
			tables[table] = true
		}
	}
	l := &locator{tables: slices.Sorted(maps.Keys(tables)), snapshots: snapshots, spans: p.spans, known: known}
	l.starts = make([]*digest.Sum, len(l.tables))
	for i := range l.starts {
		if genesis {
			l.starts[i] = new(digest.Sum)
		}
	}
	if err := l.walk(ctx, b, m, p); err != nil || len(snapshots) == 0 {
		return l.barriers, err
	}
	l.searching = true
	err = l.walk(ctx, b, m, p)
	for _, s := range snapshots {
		s.candidates = certain(s.candidates)
	}
	return l.barriers, err
}

// certain returns the candidates that are not doubtful and whose schema agrees with every
// doubtful one. Rows say nothing of the schema: from a place after a schema change that
// the snapshot lacks, a replay would leave the change out without failing.
func certain(all []candidate) (out []candidate) {
	for _, c := range all {
		other := slices.ContainsFunc(all, func(o candidate) bool { return o.doubtful && o.schemas != c.schemas })
		if !c.doubtful && !other {
			out = append(out, c)
		}
	}
	return out
}

func (l *locator) walk(ctx context.Context, b *remote.Bucket, m *remote.Manifest, p path) error {
	sums := digest.Set{}
	l.state, l.from, l.found = state{stretches: map[string]int{}, count: len(l.tables)}, p.root, nil
	for i, table := range l.tables {
		sums[table], l.stretches[table] = digest.Sum{}, i
	}
	l.ledger = digest.NewLedger(sums)
	defer l.ledger.Close()
	l.arrive(p.root.Sequence, 0)
	if err := l.Commit(p.root, nil); err != nil || p.root == p.end {
		return err
	}
	_, err := b.Walk(ctx, m, p.root, remote.Target{Sequence: p.end.Sequence}, l)
	return err
}

func (l *locator) Begin() error {
	l.saved, l.sums, l.found = l.state.clone(), maps.Clone(l.ledger.Set()), nil
	return nil
}

func (l *locator) Rollback() error {
	l.ledger.Replace(l.sums)
	l.state, l.found = l.saved, nil
	if !l.searching {
		l.starts = l.starts[:l.count]
	}
	return nil
}

func (l *locator) Apply(r *batch.Record) error {
	switch r.Entry.Op {
	case change.Insert, change.Update, change.Delete:
		l.ledger.Apply(&r.Entry)
	default:
		if r.Entry.Op == change.Barrier {
			l.barriers = append(l.barriers, r.Sequence)
		}
		if r.Entry.Op == change.Barrier || r.Entry.Op == change.Schema {
			l.schemas++
		}
		l.turn(&r.Entry)
	}
	if r.Last {
		l.arrive(r.End(), r.Time)
	}
	return nil
}

// turn carries the tables across an entry that is not a change to a row. Such an entry
// may end a stretch, begin one for a table that is empty, or hand a table's stretch to
// another name. To tell which, turn applies it to a set in which every table has a
// different sum.
func (l *locator) turn(e *change.Entry) {
	marks := digest.Set{}
	for i, table := range l.tables {
		marks[table] = mark(i)
	}
	marks.Apply(e)
	sums, was := maps.Clone(l.ledger.Set()), maps.Clone(l.stretches)
	next := digest.Set{}
	for i, table := range l.tables {
		m, there := marks[table]
		switch {
		case !there:
			next[table] = l.begin(table, nil)
		case m == mark(i):
			next[table] = sums[table]
		case m == digest.Sum{}:
			next[table] = l.begin(table, new(digest.Sum))
		default:
			from := l.tables[unmark(m)]
			next[table], l.stretches[table] = sums[from], was[from]
		}
	}
	l.ledger.Replace(next)
}

func mark(i int) (s digest.Sum) {
	binary.BigEndian.PutUint64(s[:], uint64(i)+1)
	return s
}

func unmark(s digest.Sum) int { return int(binary.BigEndian.Uint64(s[:])) - 1 }

// begin begins a stretch of table, in which its relative sum is 0 so far.
func (l *locator) begin(table string, start *digest.Sum) digest.Sum {
	if !l.searching {
		l.starts = append(l.starts, start)
	}
	l.stretches[table] = l.count
	l.count++
	return digest.Sum{}
}

// arrive is called at the end of each transaction.
func (l *locator) arrive(sequence, time int64) {
	if !l.searching {
		if l.known != nil && l.known.At.Sequence == sequence {
			l.learn(l.known.report())
		}
		return
	}
	sums := l.ledger.Set()
	for _, s := range l.snapshots {
		if fits, doubtful := l.fits(s, sequence, time, sums); fits {
			l.found = append(l.found, found{s, candidate{sequence, time, l.from, l.schemas, doubtful}})
		}
	}
}

// fits reports whether a snapshot may belong here: it has the digests of all tables whose
// sums are known. If any is unknown, the fit is doubtful, unless the snapshot itself or
// the database's file gives this place.
func (l *locator) fits(s *snapshot, sequence, time int64, sums digest.Set) (fits, doubtful bool) {
	if s.says != nil && s.says.Sequence != sequence || s.told >= 0 && s.told != sequence {
		return false, false
	}
	said := s.said()
	if !said && !l.couldTake(s, sequence, time) {
		return false, false
	}
	for _, table := range l.tables {
		start := l.starts[l.stretches[table]]
		switch {
		case start == nil:
			doubtful = !said
		case start.Plus(sums[table]) != s.Digests[table]: // a table missing from the snapshot has no rows
			return false, false
		}
	}
	return said || len(l.tables) > 0, doubtful
}

// couldTake reports whether a snapshot's node can have taken it here: either this is
// that node's change and, by the same clock, not later than the snapshot, or the node may
// have taken over from the one that made it. Rows alone do not tell: after a schema change
// that the snapshot lacks, they may be what they were.
func (l *locator) couldTake(s *snapshot, sequence, time int64) bool {
	for _, span := range l.spans {
		if sequence < span.From || sequence > span.To {
			continue
		}
		if span.NodeID == s.NodeID {
			return time <= s.Time || s.Time == 0
		}
		return sequence == span.To
	}
	return true // no change is here: the history begins
}

func (l *locator) Commit(at remote.Position, said digest.Report) error {
	if !l.searching {
		l.learn(said)
	}
	for _, f := range l.found {
		f.snapshot.candidates = append(f.snapshot.candidates, f.candidate)
	}
	l.from, l.found = at, nil
	return nil
}

// learn computes how tables began their stretches from their sums here.
func (l *locator) learn(said digest.Report) {
	sums := l.ledger.Set()
	for table, sum := range said {
		stretch, ours := l.stretches[table]
		if ours && sum != nil && l.starts[stretch] == nil {
			start := sum.Minus(sums[table])
			l.starts[stretch] = &start
		}
	}
}
