package remote

import "errors"

// attempt is reading a batch from a position up to a sequence.
type attempt struct {
	Batch
	at Position
	to int64
}

// outcome is the result of an attempt.
type outcome struct {
	end Position
	err error
}

// preferred drops the candidates that do not continue the history, and puts those that
// lead to the manifest's head first. Normally the candidates overlap only because of a
// merge, each is part of the widest, and the widest will do. Otherwise the writer's
// machine was cloned while it ran, and both copies continued under one epoch. The
// manifest then confirms what the winner stored.
func (w *walk) preferred(i int, next []Batch) ([]Batch, error) {
	s := w.m.Lineage[i]
	var able []Batch
	for _, o := range next {
		if _, err := w.trial(s, o, w.pos, cut(s, o)); errors.Is(err, errOther) {
			w.refuse(o, err)
		} else {
			able = append(able, o)
		}
	}
	if len(able) < 2 || w.agree(s, able) {
		return able, nil
	}
	if err := w.widen(s); err != nil {
		return nil, err
	}
	var leads, rest []Batch
	for _, o := range able {
		if w.leads(i, o, w.pos) {
			leads = append(leads, o)
		} else {
			rest = append(rest, o)
		}
	}
	return append(leads, rest...), nil
}

// agree reports whether the first and widest of next will do: it reaches the manifest's
// head, or contains the others.
func (w *walk) agree(s Span, next []Batch) bool {
	widest, err := w.trial(s, next[0], w.pos, cut(s, next[0]))
	if err != nil || widest.Sequence >= w.m.LatestSequence {
		return err == nil
	}
	for _, o := range next[1:] {
		end, err := w.trial(s, o, w.pos, cut(s, o))
		if err != nil {
			continue // it is unreadable now, so it cannot be taken
		}
		if part, err := w.trial(s, next[0], w.pos, end.Sequence); err != nil || part != end {
			return false
		}
	}
	return true
}

// trial reads o from at up to sequence to, without a sink. It remembers the outcome,
// because with many overlapping batches many paths lead to the same place.
func (w *walk) trial(s Span, o Batch, at Position, to int64) (Position, error) {
	key := attempt{o, at, to}
	if r, ok := w.tried[key]; ok {
		return r.end, r.err
	}
	var r outcome
	data, err := w.ahead.get(o)
	if err == nil {
		dry := *w
		dry.sink, dry.chains, dry.pos = nil, nil, at
		r.end, _, err = dry.apply(s, o, data, to)
	}
	if r.err = err; w.ctx.Err() == nil {
		w.tried[key] = r
	}
	return r.end, r.err
}

// leads reports whether some path from at through o, a batch of span i, reaches the
// manifest's head.
func (w *walk) leads(i int, o Batch, at Position) (found bool) {
	key := attempt{Batch: o, at: at}
	if found, known := w.leading[key]; known {
		return found
	}
	defer func() { w.leading[key] = found }()
	s := w.m.Lineage[i]
	end, err := w.trial(s, o, at, cut(s, o))
	if err != nil {
		return false
	}
	if end.Sequence >= w.m.LatestSequence {
		return true
	}
	if end.Sequence == s.To { // the next span continues from there
		i++
		s = w.m.Lineage[i]
		if w.list(s) != nil {
			return true // the walk will report the error
		}
	}
	for _, next := range w.candidates(w.batches(s), end.Sequence) {
		if w.leads(i, next, end) {
			return true
		}
	}
	return false
}
