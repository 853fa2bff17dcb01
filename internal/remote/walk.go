package remote

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// Position is a place in the history: the end of the transaction whose last change is
// Sequence.
type Position struct {
	Sequence int64
	Chain    batch.Chain
}

// Sink receives the history batch by batch. Records passed to Apply are proven only when
// Commit is called; Rollback undoes them.
//
// Commit also receives the digests of tables that the batch records for that position, if
// the walk took the whole batch; otherwise nil. The chain does not cover these digests.
type Sink interface {
	Begin() error
	Apply(*batch.Record) error
	Commit(Position, digest.Report) error
	Rollback() error
}

// Target is where a walk ends: before the first transaction that would go past it. A
// barrier whose range contains the target is still given to the sink, because the sink
// must report that the requested point cannot be restored. The zero value means no limit.
type Target struct {
	Sequence int64
}

// passed reports whether r belongs to a transaction that the walk must not take.
func (t Target) passed(r *batch.Record) bool {
	end := r.End()
	if r.Entry.Op == change.Barrier {
		end = r.Sequence
	}
	return end > t.Sequence
}

// reached reports whether a walk that has come to sequence is done.
func (t Target) reached(sequence int64) bool { return t.Sequence != 0 && sequence >= t.Sequence }

// Walk reads the history from start, which must be the end of a transaction, and passes
// it to sink unless sink is nil. It continues past the manifest's head for as long as the
// writer's objects continue the chain, and returns where it ended.
//
// The lineage decides which objects count; the chain proves them. Walk refuses an object
// that has the name of one that counts but is unusable. Up to the manifest's head another
// object must take its place, or Walk fails with ErrCorrupt. Past the head no manifest
// has promised anything, so the history just ends there.
func (b *Bucket) Walk(ctx context.Context, m *Manifest, start Position, target Target, sink Sink) (End, error) {
	w := newWalk(ctx, b, m, start)
	defer w.ahead.close()
	w.target, w.sink, w.done = target, sink, target.reached(start.Sequence)
	err := w.complete(w.run)
	return End{w.pos, w.done || target == Target{}, w.refusals}, err
}

// complete calls run, which continues from the walk's position, again for each later
// manifest that may have what it misses.
func (w *walk) complete(run func() error) error {
	err := run()
	for tries := maxMoves; tries > 0 && errors.Is(err, ErrCorrupt) && w.moved(); tries-- {
		err = run()
	}
	return err
}

// maxMoves is how often a walk may switch to a later manifest. Each switch means that the
// walk has advanced, or that a session which overtook it has since ended.
const maxMoves = 20

// moved switches to the manifest that the bucket has now, and reports whether it is a
// different one. A batch that is missing may have been replaced by one that the new
// manifest names.
func (w *walk) moved() bool {
	if w.m.Branch != "" {
		return false
	}
	now, err := w.b.Manifest(w.ctx)
	if err != nil || now.Nonce == w.m.Nonce || now.DatabaseID != w.m.DatabaseID || now.LatestSequence < w.m.LatestSequence {
		return false
	}
	w.m = now.Manifest
	w.relist()
	return true
}

// relist forgets what has been listed, and what was concluded from it.
func (w *walk) relist() {
	w.listed, w.leading = map[place]*listing{}, map[attempt]bool{}
}

// End is where a walk ended, and the objects it refused on the way. Reached is false if
// the history ends before the target.
type End struct {
	Position
	Reached bool
	Refused []Refusal
}

func newWalk(ctx context.Context, b *Bucket, m *Manifest, at Position) *walk {
	w := &walk{
		ctx: ctx, b: b, m: m, pos: at, ahead: newFetcher(ctx, b, m.DatabaseID),
		refused: map[Batch]bool{}, tried: map[attempt]outcome{},
	}
	w.relist()
	return w
}

func (w *walk) run() error {
	m, start := w.m, w.pos
	if start.Sequence == m.LatestSequence && start.Chain != m.ChainHead {
		return fmt.Errorf("%w: its history up to sequence %d is not the one to be continued", ErrCorrupt, start.Sequence)
	}
	if start.Sequence < m.Begins() {
		return m.tooOld()
	}
	for i, span := range m.Lineage {
		if w.done || span.To != 0 && span.To <= w.pos.Sequence {
			continue
		}
		if err := w.span(i); err != nil {
			return err
		}
	}
	if !w.done && w.pos.Sequence < m.LatestSequence {
		return fmt.Errorf("%w: the manifest says that changes up to %d are stored, but nothing continues after %d", ErrCorrupt, m.LatestSequence, w.pos.Sequence)
	}
	return nil
}

type walk struct {
	ctx    context.Context
	b      *Bucket
	m      *Manifest
	pos    Position
	target Target
	sink   Sink
	done   bool // the target is reached
	ahead  *fetcher

	// By node, the batches in its folder. A folder is listed once, for all sessions of its
	// node, beginning with the first span that was needed; or, if narrow is set, just
	// before the place that is needed.
	listed map[place]*listing
	narrow *narrow

	// Batches found unusable, which are not tried again, and the results of trying the
	// paths that the walk could take.
	refused  map[Batch]bool
	refusals []Refusal
	tried    map[attempt]outcome
	leading  map[attempt]bool

	// If chains is not nil, the walk fills in the chain at each of its sequences that it
	// passes. passing holds those in the batch being taken.
	chains  map[int64]batch.Chain
	passing []Position
}

// list lists the batches of the span that the walk needs, unless that is already done.
func (w *walk) list(s Span) error {
	n := w.narrow
	switch {
	case n == nil || n.whole:
		return w.listFrom(w.place(s), s.From, 0)
	case n.to != 0:
		return w.listFrom(w.place(s), max(s.From, w.pos.Sequence+1-n.margin), n.to+1)
	}
	return w.listFrom(w.place(s), max(s.From, w.pos.Sequence+1-n.margin), 0)
}

// listFrom lists the batches of a node that begin at from or later and, unless below is
// 0, before below. What is listed already is not listed again.
func (w *walk) listFrom(at place, from, below int64) error {
	if below == 0 {
		below = math.MaxInt64
	}
	have := w.listed[at]
	if have == nil {
		have = &listing{low: from, high: from, sessions: map[int64][]Batch{}}
		w.listed[at] = have
	}
	if from < have.low {
		if err := w.listInto(have, at, from, have.low); err != nil {
			return err
		}
		have.low = from
	}
	if below > have.high {
		if err := w.listInto(have, at, have.high, below); err != nil {
			return err
		}
		have.high = below
	}
	return nil
}

// listInto adds the batches that begin at from or later, before below.
func (w *walk) listInto(have *listing, at place, from, below int64) error {
	var found []Batch
	for o, err := range w.b.batches(w.ctx, at, from) {
		if err != nil {
			return err
		}
		if o.From >= below {
			break
		}
		found = append(found, o)
	}
	for _, o := range found {
		have.sessions[o.Epoch] = append(have.sessions[o.Epoch], o)
	}
	return nil
}

// listing is what is known of a node's folder: its batches that begin at low or later,
// before high, by epoch.
type listing struct {
	low, high int64
	sessions  map[int64][]Batch
}

// place is a node's folder in a database.
type place struct {
	home home
	node string
}

// place is where the span's batches are.
func (w *walk) place(s Span) place { return place{w.m.home(s), s.NodeID} }

// batches returns the span's batches, as far as they are listed.
func (w *walk) batches(s Span) []Batch {
	if have := w.listed[w.place(s)]; have != nil {
		return have.sessions[s.Epoch]
	}
	return nil
}

// more reports whether batches of the span may begin before those that are listed.
func (w *walk) more(s Span) bool {
	have := w.listed[w.place(s)]
	return have == nil || have.low > s.From
}

// span walks through span i of the lineage.
func (w *walk) span(i int) error {
	s := w.m.Lineage[i]
	if err := w.list(s); err != nil {
		return err
	}
	for !w.done && (s.To == 0 || w.pos.Sequence < s.To) {
		confirmed := s.To != 0 || w.pos.Sequence < w.m.LatestSequence
		if w.narrow == nil || !w.narrow.keep {
			w.ahead.passed(w.pos.Sequence)
		}
		w.ahead.want(w.predict(i)...)
		next := w.candidates(w.batches(s), w.pos.Sequence)
		if len(next) > 1 && confirmed {
			var err error
			if next, err = w.preferred(i, next); err != nil {
				return err
			}
		}
		found, err := w.step(s, next, confirmed)
		if errors.Is(err, ErrCorrupt) && w.more(s) { // what continues may begin earlier
			if err := w.listFrom(w.place(s), s.From, 0); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if !found {
			return nil
		}
	}
	return nil
}

// candidates returns the batches that hold the entry after sequence and have not been
// refused, widest first.
func (w *walk) candidates(batches []Batch, sequence int64) []Batch {
	var out []Batch
	for _, b := range batches {
		if b.From <= sequence+1 && b.To > sequence && !w.refused[b] {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(x, y Batch) int { return int(min(max(y.To-x.To, -1), 1)) })
	return out
}

// predict returns the batches that the walk, now in span i, will most likely read next,
// as far as they are listed.
func (w *walk) predict(i int) (out []Batch) {
	sequence, bytes := w.pos.Sequence, int64(0)
	for ; i < len(w.m.Lineage); i++ {
		s := w.m.Lineage[i]
		for s.To == 0 || sequence < s.To {
			next := w.candidates(w.batches(s), sequence)
			if len(next) == 0 || w.target.reached(sequence) || w.narrow.reached(sequence) || enough(len(out), bytes, next[0]) {
				return out
			}
			bytes += next[0].Size
			out, sequence = append(out, next[0]), cut(s, next[0])
		}
	}
	return out
}

// step takes the first candidate that continues the chain. Past what the manifest
// confirms there need not be one.
func (w *walk) step(s Span, next []Batch, confirmed bool) (found bool, err error) {
	var unread error
	for _, o := range next {
		err := w.use(s, o)
		for again := 0; errors.Is(err, errOther) && !confirmed && again < 2; again++ {
			w.ahead.forget(o) // it may end the history, or have been corrupted in transit
			err = w.use(s, o)
		}
		switch {
		case errors.Is(err, errOther):
			w.refuse(o, err)
		case errors.Is(err, errUnread): // another batch may hold the same entries
			unread = cmp.Or(unread, err)
		default:
			return err == nil, err
		}
	}
	switch {
	case unread != nil:
		return false, unread
	case confirmed:
		return false, w.broken(fmt.Sprintf("no batch of node %s, epoch %d continues after sequence %d", s.NodeID, s.Epoch, w.pos.Sequence))
	}
	return false, nil
}

// use reads o and applies it.
func (w *walk) use(s Span, o Batch) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	data, err := w.ahead.get(o)
	if err != nil {
		return err
	}
	return w.take(s, o, data)
}

// blame decides what caused the sink's error err. The sink gets records before the end of
// the batch has proven them, so a damaged batch may have given it impossible ones.
func (w *walk) blame(s Span, o Batch, data []byte, limit int64, err error) error {
	if damage := w.dry(s, o, data, limit); damage != nil {
		return damage
	}
	return err
}

// dry runs apply without a sink.
func (w *walk) dry(s Span, o Batch, data []byte, limit int64) error {
	dry := *w
	dry.sink, dry.chains = nil, nil
	_, _, err := dry.apply(s, o, data, limit)
	return err
}

// take applies the part of the batch after the walk's position.
func (w *walk) take(s Span, o Batch, data []byte) error {
	limit, err := w.limit(s, o, data)
	if err != nil {
		return err
	}
	if limit <= w.pos.Sequence { // done, provided that this batch continues the chain
		if err := w.dry(s, o, data, cut(s, o)); err != nil {
			return err
		}
		w.done = true
		return nil
	}
	if w.sink != nil {
		if err := w.sink.Begin(); err != nil {
			return err
		}
	}
	w.passing = w.passing[:0]
	end, digests, err := w.apply(s, o, data, limit)
	if err == nil && w.sink != nil {
		err = w.sink.Commit(end, digests)
	}
	if err != nil {
		if w.sink != nil {
			err = errors.Join(err, w.sink.Rollback())
		}
		return err
	}
	for _, at := range w.passing {
		w.chains[at.Sequence] = at.Chain
	}
	w.pos = end
	w.done = limit < cut(s, o) || w.target.reached(end.Sequence) || w.narrow.reached(end.Sequence)
	return nil
}

// cut is the last sequence of o that counts in its span.
func cut(s Span, o Batch) int64 {
	if s.To != 0 {
		return min(o.To, s.To)
	}
	return o.To
}

// limit is the last sequence of o that this walk takes: the end of a transaction within
// the span and the target.
func (w *walk) limit(s Span, o Batch, data []byte) (int64, error) {
	limit := cut(s, o)
	if w.target.Sequence == 0 || limit <= w.target.Sequence {
		return limit, nil
	}
	end := w.pos.Sequence
	err := w.read(o, data, func(r *batch.Record) bool {
		if r.End() > limit || w.target.passed(r) {
			return false
		}
		if r.Last {
			end = max(end, r.End())
		}
		return true
	})
	return end, err
}

// open opens the object of batch o. It returns errOther if it cannot be that batch.
func (w *walk) open(o Batch, data []byte) (*batch.Reader, error) {
	r, err := w.b.openBatch(w.m.DatabaseID, o, bytes.NewReader(data))
	if err != nil {
		err = fmt.Errorf("%w: %w", errOther, err)
	}
	return r, err
}

// read calls fn for each record of o, without its entry, until fn returns false. It returns
// errOther if the batch itself is faulty.
func (w *walk) read(o Batch, data []byte, fn func(*batch.Record) bool) error {
	r, err := w.open(o, data)
	if err != nil {
		return err
	}
	r.Only(math.MaxInt64, 0)
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		rec, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errOther, about(w.b.key(o), err))
		}
		if !fn(rec) {
			return nil
		}
	}
}

// apply passes the records between the walk's position and limit, as far as they are of the
// part that is read, to the sink. Unless it fails, it reads the batch to its end, because only
// the trailer proves the batch. If limit is that end, apply also returns the trailer's digests.
func (w *walk) apply(s Span, o Batch, data []byte, limit int64) (end Position, digests digest.Report, err error) {
	end = w.pos
	head := w.m.LatestSequence
	if head > cut(s, o) {
		head = 0 // past cut, the batch's entries do not count
	}
	joined, headSeen := false, false
	var r *batch.Reader
	check := func(sequence int64) error {
		if sequence == w.pos.Sequence {
			joined = r.Chain() == w.pos.Chain
		}
		if !joined {
			return fmt.Errorf("%w: %s %w at sequence %d", errOther, w.b.key(o), errApart, w.pos.Sequence)
		}
		if sequence != head || head == 0 {
			return nil
		}
		headSeen = true
		if r.Chain() != w.m.ChainHead {
			return fmt.Errorf("%w: %s does not end at the manifest's chain head", errOther, w.b.key(o))
		}
		return nil
	}
	if r, err = w.open(o, data); err != nil {
		return end, nil, err
	}
	switch {
	case w.sink == nil:
		r.Only(math.MaxInt64, 0)
	case w.narrow != nil:
		r.Only(w.narrow.first, w.narrow.last)
	}
	if o.From == w.pos.Sequence+1 {
		if err := check(w.pos.Sequence); err != nil {
			return end, nil, err
		}
	}
	for {
		if err := w.ctx.Err(); err != nil {
			return end, nil, err
		}
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return end, nil, fmt.Errorf("%w: %w", errOther, about(w.b.key(o), err))
		}
		at := rec.End()
		if rec.Sequence > w.pos.Sequence && at <= limit {
			if !joined {
				return end, nil, check(at)
			}
			if w.sink != nil && w.narrow.has(rec) {
				if err := w.sink.Apply(rec); err != nil {
					return end, nil, w.blame(s, o, data, limit, fmt.Errorf("sequence %d: %w", rec.Sequence, err))
				}
			}
		}
		if rec.Last && at >= w.pos.Sequence {
			if err := check(at); err != nil {
				return end, nil, err
			}
			if at <= limit {
				end = Position{at, r.Chain()}
				if _, asked := w.chains[at]; asked {
					w.passing = append(w.passing, end)
				}
			}
		}
	}
	if w.pos.Sequence < head && head < end.Sequence && !headSeen {
		return end, nil, fmt.Errorf("%w: %s has no transaction that ends at the manifest's head, sequence %d", errOther, w.b.key(o), head)
	}
	if end.Sequence != limit {
		return end, nil, fmt.Errorf("%w: %s has no transaction that ends at sequence %d", errOther, w.b.key(o), limit)
	}
	if t := r.Trailer(); t.To == end.Sequence {
		digests = t.Digests
	}
	return end, digests, nil
}
