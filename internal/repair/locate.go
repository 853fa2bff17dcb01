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

// A snapshot does not say which change is the last one in it. Its rows do: the changes
// say what each adds to the digests of tables, and batches, where they end, say what the
// digests are. So the digests at every other position can be worked out, forwards and
// backwards, and those where a snapshot can belong are the ones that have its digests.
//
// That takes two walks over the history. In both, a table's sum is relative to what it
// was at the beginning of a stretch over which the log says all that happens to it. The
// first walk learns what it was there, from the first batch that says what it is later.
type locator struct {
	tables    []string // of all snapshots, sorted
	snapshots []*snapshot
	known     *Known        // by a file of the database, of one position
	starts    []*digest.Sum // of each stretch, what the table was at its beginning; nil: not known
	searching bool          // this is the second walk

	state
	ledger *digest.Ledger // relative sums of all tables
	saved  state          // before the batch
	sums   digest.Set     // likewise
	from   remote.Position
	found  []found // in the batch
}

// state is what a batch that turns out to be of no use must not change.
type state struct {
	stretches map[string]int // of each table, the one that it is in
	count     int            // of stretches that have begun
	barriers  []int64        // sequences
	schemas   int            // how many changes were none of rows so far
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
// position to walk there from.
type candidate struct {
	sequence, time int64
	from           remote.Position
	schemas        int  // as state has them there
	doubtful       bool // not all tables are known there: it can be no more than another place
}

// locate finds where on p, which m describes, each of the snapshots can belong, and where
// barriers are. Of a history that begins with nothing, all is known there.
func locate(ctx context.Context, b *remote.Bucket, m *remote.Manifest, p path, genesis bool, snapshots []*snapshot, known *Known) (barriers []int64, err error) {
	tables := map[string]bool{}
	for _, s := range snapshots {
		s.candidates = nil
		for table := range s.Digests {
			tables[table] = true
		}
	}
	l := &locator{tables: slices.Sorted(maps.Keys(tables)), snapshots: snapshots, known: known}
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

// certain are the candidates at which a snapshot has the schema that it has at any place
// where it may belong. Its rows say nothing of the schema: from a place behind a
// statement that it does not have, a replay would leave that out and not fail.
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

// turn takes the tables over something that is not a change to a row. It may end a stretch,
// begin one of a table that is empty, or give a stretch to a table of another name. What
// it does to a set in which every table has another sum tells which.
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

// begin begins a stretch of table, in which its sum is 0 so far.
func (l *locator) begin(table string, start *digest.Sum) digest.Sum {
	if !l.searching {
		l.starts = append(l.starts, start)
	}
	l.stretches[table] = l.count
	l.count++
	return digest.Sum{}
}

// arrive is at the end of a transaction.
func (l *locator) arrive(sequence, time int64) {
	if !l.searching {
		if l.known != nil && l.known.At.Sequence == sequence {
			l.learn(l.known.report())
		}
		return
	}
	sums := l.ledger.Set()
	for _, s := range l.snapshots {
		if fits, doubtful := l.fits(s, sequence, sums); fits {
			l.found = append(l.found, found{s, candidate{sequence, time, l.from, l.schemas, doubtful}})
		}
	}
}

// fits reports whether a snapshot can belong here: it has the digests of all tables that are
// known. Where one is not, that is doubtful, unless somebody has said that the snapshot
// belongs here.
func (l *locator) fits(s *snapshot, sequence int64, sums digest.Set) (fits, doubtful bool) {
	if s.says != nil && s.says.Sequence != sequence || s.told >= 0 && s.told != sequence {
		return false, false
	}
	said := s.says != nil || s.told >= 0
	for _, table := range l.tables {
		start := l.starts[l.stretches[table]]
		switch {
		case start == nil:
			doubtful = !said
		case start.Plus(sums[table]) != s.Digests[table]: // one that is not there has no rows
			return false, false
		}
	}
	return said || len(l.tables) > 0, doubtful
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

// learn works out how tables began, from what they are here.
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
