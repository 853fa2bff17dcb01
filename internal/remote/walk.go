package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// Position is a place in the history: after the transaction that ends at
// Sequence.
type Position struct {
	Sequence int64
	Chain    segment.Chain
}

// Sink receives the history, batch by batch. What Apply was given between
// Begin and Commit is proven only by Commit; Rollback takes it back.
//
// Commit also gets what the batch says of tables at that position, if the walk
// took the batch to its end; otherwise nil. The chain does not cover that.
type Sink interface {
	Begin() error
	Apply(*segment.Record) error
	Commit(Position, digest.Report) error
	Rollback() error
}

// Target says where a walk ends: before the first transaction that would go
// past it. A barrier over a range that holds the target is not left out: what
// was asked for lies in it, and the sink has to say that it cannot be had. The
// zero value is no limit.
type Target struct {
	Sequence int64
}

// passed says whether a record belongs to a transaction that the walk must not
// take.
func (t Target) passed(r *segment.Record) bool {
	end := r.End()
	if r.Entry.Op == change.Barrier {
		end = r.Sequence
	}
	return end > t.Sequence
}

// reached says whether a walk that is at sequence is done.
func (t Target) reached(sequence int64) bool { return t.Sequence != 0 && sequence >= t.Sequence }

// Walk reads the history from start, which must be the end of a transaction,
// and gives it to sink, if there is one. It goes on past the manifest for as
// long as the writer's objects continue the chain, and returns where it ended.
//
// The lineage decides which objects count; the chain proves them.
func (b *Bucket) Walk(ctx context.Context, m *Manifest, start Position, target Target, sink Sink) (Position, error) {
	w := &walk{b: b, m: m, pos: start, target: target, sink: sink, listed: map[string]map[int64][]Batch{}, done: target.reached(start.Sequence)}
	if start.Sequence == m.LatestSequence && start.Chain != m.ChainHead {
		return start, fmt.Errorf("%w: its history up to sequence %d is not the one that is to be continued", ErrCorrupt, start.Sequence)
	}
	if start.Sequence < m.Begins() {
		return start, m.tooOld()
	}
	w.ahead = newFetcher(ctx, b)
	defer w.ahead.close()
	for i, span := range m.Lineage {
		if w.done || span.To != 0 && span.To <= w.pos.Sequence {
			continue
		}
		if err := w.span(ctx, i); err != nil {
			return w.pos, err
		}
	}
	if !w.done && w.pos.Sequence < m.LatestSequence {
		return w.pos, fmt.Errorf("%w: the manifest says that changes up to %d are stored, but nothing continues after %d", ErrCorrupt, m.LatestSequence, w.pos.Sequence)
	}
	return w.pos, nil
}

type walk struct {
	b      *Bucket
	m      *Manifest
	pos    Position
	target Target
	sink   Sink
	done   bool // the target is reached
	ahead  *fetcher

	// By node and epoch, what a node's folder has from the first span on that was
	// looked for. A folder is listed once, for all sessions of its node.
	listed map[string]map[int64][]Batch
}

// list sees to it that the folder of a span's node is listed.
func (w *walk) list(ctx context.Context, s Span) error {
	if w.listed[s.NodeID] != nil {
		return nil
	}
	sessions := map[int64][]Batch{}
	for o, err := range w.b.batches(ctx, s.NodeID, s.From) {
		if err != nil {
			return err
		}
		sessions[o.Epoch] = append(sessions[o.Epoch], o)
	}
	w.listed[s.NodeID] = sessions
	return nil
}

// span walks through span i of the lineage.
func (w *walk) span(ctx context.Context, i int) error {
	s := w.m.Lineage[i]
	if err := w.list(ctx, s); err != nil {
		return err
	}
	open, batches := s.To == 0, w.listed[s.NodeID][s.Epoch]
	for !w.done && (open || w.pos.Sequence < s.To) {
		next := candidates(batches, w.pos.Sequence)
		if len(next) == 0 {
			if !open || w.pos.Sequence < w.m.LatestSequence {
				return fmt.Errorf("%w: no batch of node %s, epoch %d continues after sequence %d", ErrCorrupt, s.NodeID, s.Epoch, w.pos.Sequence)
			}
			return nil
		}
		w.ahead.passed(w.pos.Sequence)
		w.ahead.want(w.predict(i)...)
		if len(next) > 1 && w.pos.Sequence < w.m.LatestSequence {
			next = w.preferred(s, batches, next)
		}
		if err := w.step(s, next); err != nil {
			return err
		}
	}
	return nil
}

// candidates are the batches that hold the entry after sequence, the widest
// first.
func candidates(batches []Batch, sequence int64) []Batch {
	var out []Batch
	for _, b := range batches {
		if b.From <= sequence+1 && b.To > sequence {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(x, y Batch) int { return int(min(max(y.To-x.To, -1), 1)) })
	return out
}

// predict is the way that the walk, in span i, most likely takes, as far as it is
// listed.
func (w *walk) predict(i int) (out []Batch) {
	sequence, bytes := w.pos.Sequence, int64(0)
	for ; i < len(w.m.Lineage); i++ {
		s := w.m.Lineage[i]
		for s.To == 0 || sequence < s.To {
			next := candidates(w.listed[s.NodeID][s.Epoch], sequence)
			enough := len(out) >= leastAhead && bytes > fewBytes || len(out) == mostAhead
			if len(next) == 0 || enough || w.target.reached(sequence) {
				return out
			}
			out, sequence = append(out, next[0]), cut(s, next[0])
			bytes += next[0].Size
		}
	}
	return out
}

// step takes the first candidate that continues the chain.
func (w *walk) step(s Span, next []Batch) error {
	var refused []error
	for _, o := range next {
		data, err := w.ahead.get(o)
		if err != nil {
			return err
		}
		err = w.take(s, o, data)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errOther) {
			return err
		}
		refused = append(refused, err)
	}
	return fmt.Errorf("%w: no batch continues the history after sequence %d: %w", ErrCorrupt, w.pos.Sequence, errors.Join(refused...))
}

// preferred puts the candidates first from which the manifest's head can be
// reached. Normally all of them are parts of one another, left over from a
// merge, and the widest will do. When they are not, the writer's machine was
// cloned while it ran, both went on under one epoch, and what the winner
// stored is what the manifest confirmed.
func (w *walk) preferred(s Span, batches, next []Batch) []Batch {
	widest, err := w.trial(s, next[0], 0)
	if err == nil {
		same := true
		for _, o := range next[1:] {
			if end, err := w.trial(s, o, 0); err == nil {
				cut, err := w.trial(s, next[0], end.Sequence)
				same = same && err == nil && cut == end
			}
		}
		if same || widest.Sequence >= w.m.LatestSequence {
			return next
		}
	}
	var leads, rest []Batch
	for _, o := range next {
		if w.leads(s, batches, o) {
			leads = append(leads, o)
		} else {
			rest = append(rest, o)
		}
	}
	return append(leads, rest...)
}

// trial reads o, without a sink, up to sequence to or its end.
func (w *walk) trial(s Span, o Batch, to int64) (Position, error) {
	data, err := w.ahead.get(o)
	if err != nil {
		return Position{}, err
	}
	dry := *w
	dry.sink = nil
	if to == 0 {
		to = cut(s, o)
	}
	end, _, err := dry.apply(s, o, data, to)
	return end, err
}

// leads says whether some way through o reaches the manifest's head.
func (w *walk) leads(s Span, batches []Batch, o Batch) bool {
	end, err := w.trial(s, o, 0)
	if err != nil {
		return false
	}
	if end.Sequence >= w.m.LatestSequence || end.Sequence == s.To {
		return true
	}
	on := *w
	on.pos = end
	for _, next := range candidates(batches, end.Sequence) {
		if on.leads(s, batches, next) {
			return true
		}
	}
	return false
}

var (
	// errOther says that a batch is no part of this history, or is damaged:
	// another one may hold the same entries.
	errOther = errors.New("not usable")
	// errApart is the former of the two: the batch belongs to another history.
	errApart = errors.New("does not continue the chain")
)

// blame finds out who is to blame for err of the sink: it gets its records
// before the batch's end has proven them, and a damaged batch may have told it
// what cannot be.
func (w *walk) blame(s Span, o Batch, data []byte, limit int64, err error) error {
	dry := *w
	dry.sink = nil
	if _, _, damage := dry.apply(s, o, data, limit); damage != nil {
		return damage
	}
	return err
}

// take applies the part of a batch that lies after the walk's position.
func (w *walk) take(s Span, o Batch, data []byte) error {
	limit, err := w.limit(s, o, data)
	if err != nil {
		return err
	}
	if limit <= w.pos.Sequence {
		w.done = true
		return nil
	}
	if w.sink != nil {
		if err := w.sink.Begin(); err != nil {
			return err
		}
	}
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
	w.pos = end
	w.done = limit < cut(s, o) || w.target.reached(end.Sequence)
	return nil
}

// cut is the last sequence of o that its span lets count.
func cut(s Span, o Batch) int64 {
	if s.To != 0 {
		return min(o.To, s.To)
	}
	return o.To
}

// limit is the last sequence of o that this walk takes: the end of a
// transaction, within the span and the target.
func (w *walk) limit(s Span, o Batch, data []byte) (int64, error) {
	limit := cut(s, o)
	if w.target.Sequence == 0 || limit <= w.target.Sequence {
		return limit, nil
	}
	end := w.pos.Sequence
	err := w.read(o, data, func(r *segment.Record) bool {
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

// read calls fn for each record of o until it returns false. What is wrong
// with the batch itself is errOther.
func (w *walk) read(o Batch, data []byte, fn func(*segment.Record) bool) error {
	r, err := w.b.openBatch(w.m.DatabaseID, o, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errOther, BatchKey(w.b.name, o), err)
		}
		if !fn(rec) {
			return nil
		}
	}
}

// apply gives the sink what lies between the walk's position and limit, and
// reads the batch to its end all the same: only its trailer proves it. If limit
// is that end, it returns the digests of the trailer as well.
func (w *walk) apply(s Span, o Batch, data []byte, limit int64) (end Position, digests digest.Report, err error) {
	end = w.pos
	head := w.m.LatestSequence
	if head > cut(s, o) {
		head = 0 // what lies there in this batch does not count
	}
	joined, headSeen := false, false
	var r *segment.Reader
	check := func(sequence int64) error {
		if sequence == w.pos.Sequence {
			joined = r.Chain() == w.pos.Chain
		}
		if !joined {
			return fmt.Errorf("%w: %s %w at sequence %d", errOther, BatchKey(w.b.name, o), errApart, w.pos.Sequence)
		}
		if sequence != head || head == 0 {
			return nil
		}
		headSeen = true
		if r.Chain() != w.m.ChainHead {
			return fmt.Errorf("%w: %s does not lead to the manifest's chain head", errOther, BatchKey(w.b.name, o))
		}
		return nil
	}
	r, err = w.b.openBatch(w.m.DatabaseID, o, bytes.NewReader(data))
	if err != nil {
		return end, nil, fmt.Errorf("%w: %w", errOther, err)
	}
	if o.From == w.pos.Sequence+1 {
		if err := check(w.pos.Sequence); err != nil {
			return end, nil, err
		}
	}
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return end, nil, fmt.Errorf("%w: %s: %w", errOther, BatchKey(w.b.name, o), err)
		}
		at := rec.End()
		if rec.Sequence > w.pos.Sequence && at <= limit {
			if !joined {
				return end, nil, check(at)
			}
			if w.sink != nil {
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
			}
		}
	}
	if w.pos.Sequence < head && head < end.Sequence && !headSeen {
		return end, nil, fmt.Errorf("%w: %s has no transaction that ends at the manifest's head, sequence %d", errOther, BatchKey(w.b.name, o), head)
	}
	if end.Sequence != limit {
		return end, nil, fmt.Errorf("%w: %s has no transaction that ends at sequence %d", errOther, BatchKey(w.b.name, o), limit)
	}
	if t := r.Trailer(); t.To == end.Sequence {
		digests = t.Digests
	}
	return end, digests, nil
}
