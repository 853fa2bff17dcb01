package changelog

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// Limits bound a batch. A transaction is never split, so a batch holds at
// least one.
type Limits struct {
	Bytes   int64 // of plain JSON
	Entries int64 // 0: no limit
	Through int64 // no transaction that begins after this sequence; 0: no limit
}

// Start is where a batch begins, and what is known at that point.
type Start struct {
	batch.Header
	// Acked is the last sequence that the bucket has. A batch that repeats entries of
	// other batches begins before that.
	Acked int64
	// Digests are the digests known after Acked, and those that a reader of the bucket
	// knows before the batch.
	Digests
}

// Packed describes the contents of a batch, and what is known after it.
type Packed struct {
	To       int64       // its last sequence
	Chain    batch.Chain // after that
	Earliest int64       // the smallest time in it, Unix ms; a negative one is 0
	Known    digest.Set
	Barrier  int64 // the last barrier after Acked; 0: none
	Altered  bool  // it has a barrier or a schema change after Acked
}

// Pack writes a batch of consecutive transactions from s on, up to sequence to or, if to
// is 0, as many as the limits allow. This single pass over the log collects everything
// that the caller needs to know about the batch.
//
// The batch also carries the new digests, which are not part of its chain.
func (l *Log) Pack(w io.Writer, s Start, to int64, limits Limits) (Packed, error) {
	p := packing{l: l, after: s.Acked, out: batch.NewWriter(w, s.Header), Packed: Packed{Known: digest.Set{}, Earliest: NoTime}}
	maps.Copy(p.Known, s.Known)
	last := cmp.Or(to, limits.Through, math.MaxInt64)
	err := l.Between(s.From, last, func(t Transaction) error {
		if to == 0 && t.First > s.From && (p.out.Size() >= limits.Bytes || limits.Entries > 0 && t.Last()-s.From+1 > limits.Entries) {
			return Stop
		}
		return p.add(t)
	})
	if err != nil {
		return Packed{}, err
	}
	p.out.SetDigests(p.Known.Since(s.Told))
	end, err := p.out.Close()
	if err == nil && to != 0 && end.To != to {
		err = noEnd(to)
	}
	p.To, p.Chain = end.To, end.Head
	return p.Packed, err
}

// packing is a batch that is being written.
type packing struct {
	Packed
	l       *Log
	after   int64 // digests are brought forward over entries after this sequence
	out     *batch.Writer
	decoder change.Decoder
}

func (p *packing) add(t Transaction) error {
	if err := p.out.Begin(t.First, t.Time); err != nil {
		return err
	}
	p.Earliest = min(p.Earliest, max(t.Time, 0))
	if err := p.l.entries(&p.decoder, t, p.entry); err != nil {
		return err
	}
	return p.out.End()
}

func (p *packing) entry(sequence int64, e *change.Entry) error {
	if sequence > p.after {
		p.follow(sequence, e)
	}
	return p.out.Add(e)
}

func (p *packing) follow(sequence int64, e *change.Entry) {
	p.Known.Apply(e)
	switch e.Op {
	case change.Barrier:
		p.Barrier, p.Altered = sequence, true
	case change.Schema:
		p.Altered = true
	}
}

// ChainAt computes the chain after sequence to, starting from the chain after
// sequence from. Both are ends of transactions.
func (l *Log) ChainAt(from int64, chain batch.Chain, to int64) (batch.Chain, error) {
	if from == to {
		return chain, nil
	}
	header := batch.Header{NodeID: l.id.NodeID, Epoch: 1, From: from + 1, Prev: chain}
	p := packing{l: l, after: math.MaxInt64, out: batch.NewWriter(io.Discard, header)}
	if err := l.Between(header.From, to, p.add); err != nil {
		return chain, err
	}
	end, err := p.out.Close()
	if err == nil && end.To != to {
		err = noEnd(to)
	}
	return end.Head, err
}

func noEnd(sequence int64) error {
	return fmt.Errorf("the log has no transaction that ends at sequence %d", sequence)
}
