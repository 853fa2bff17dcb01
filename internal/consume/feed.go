package consume

import (
	"context"
	"iter"

	"github.com/driftdb/driftdb-go/internal/history"
)

// Transaction is what a consumer gets at a time.
type Transaction[T any] struct {
	Changes []T
	End     int64 // the last sequence of the transaction
}

// saveAfter is how many changes that are not for a consumer pass before its position is
// saved although it has nothing to do. So a restart does not read them all again. It is
// large because saving is a change as well: consumers that have nothing to do must not
// keep each other busy.
const saveAfter = 10_000

// Feed yields the transactions after sequence after that have something for the consumer,
// and at times one that is empty, where only the position is to be saved. It waits for more
// until ctx ends. It yields no part of a transaction without the rest, except the one that
// holds sequence after.
func Feed[T any](ctx context.Context, log history.Log, c Consumer, after int64, convert func(history.Change) T) iter.Seq2[Transaction[T], error] {
	return func(yield func(Transaction[T], error) bool) {
		f := feed[T]{consumer: c, saved: after}
		q := history.Query{From: after + 1, Wait: true}
		for p, err := range history.Changes(ctx, log, q, func(h history.Change) passed[T] { return f.pass(h, convert) }) {
			if err != nil {
				yield(Transaction[T]{}, err)
				return
			}
			if tx, due := f.add(p); due && !yield(tx, nil) {
				return
			}
		}
	}
}

// feed collects the changes of a transaction.
type feed[T any] struct {
	consumer Consumer
	pending  []T
	own      bool  // the consumer has made the transaction
	saved    int64 // the position that was yielded last
}

// passed is a change that was read.
type passed[T any] struct {
	change         T
	selected, mine bool
	last           bool
	end            int64
}

func (f *feed[T]) pass(h history.Change, convert func(history.Change) T) passed[T] {
	p := passed[T]{selected: f.consumer.selects(h.Entry), mine: f.consumer.moves(h.Entry), last: h.Last, end: h.End()}
	if p.selected {
		p.change = convert(h)
	}
	return p
}

// add adds a change. At the end of a transaction it reports whether the consumer is to be
// told.
func (f *feed[T]) add(p passed[T]) (tx Transaction[T], due bool) {
	if p.selected {
		f.pending = append(f.pending, p.change)
	}
	f.own = f.own || p.mine
	if !p.last {
		return tx, false
	}
	if !f.own {
		tx.Changes = f.pending
	}
	tx.End, f.pending, f.own = p.end, nil, false
	if len(tx.Changes) == 0 && p.end-f.saved < saveAfter {
		return tx, false
	}
	f.saved = p.end
	return tx, true
}
