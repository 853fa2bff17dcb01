package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// task makes a snapshot beside the rounds: it copies, sums and stores a fixed state
// of the database while batches go on. Its goroutine uses neither the token nor the
// log. When it has ended, the next round lets the manifest name what it has stored.
//
// There is one task at a time, so snapshots are named in the order of their sequences.
// What the bucket had acknowledged when the task began reaches its state, and no entry
// behind that is trimmed before it has ended.
type task struct {
	ctx    context.Context // of the goroutine
	parent context.Context // of whoever has started it and waits for it
	cancel func()
	done   chan struct{} // closed when the goroutine has ended: state and err count then

	state *fixed // its sequence never changes
	err   error

	// Of whoever holds the token.
	sent    int64 // books.BytesSince at its beginning
	dropped bool  // there is no use for it any more
	named   bool  // by the manifest
}

// errDropped says that a task was interrupted: nobody waits for what it does.
var errDropped = errors.New("the snapshot was abandoned")

// start fixes a state of the database, and starts a task, which does not outlive parent.
func (p *snapshotter) start(ctx, parent context.Context) error {
	f, err := p.fix(ctx)
	if err != nil {
		return err
	}
	t := &task{parent: parent, done: make(chan struct{}), state: f, sent: p.books.BytesSince}
	t.ctx, t.cancel = p.bound(parent)
	p.task = t
	go func() {
		defer p.Wake()
		defer close(t.done)
		defer t.cancel()
		if t.err = p.makeSnapshot(t.ctx, f); t.err != nil && t.ctx.Err() != nil {
			t.err = errDropped
		}
	}()
	return nil
}

// makeSnapshot is what a task's goroutine does. It stores nothing if the file does not
// hold what the log says.
func (p *snapshotter) makeSnapshot(ctx context.Context, f *fixed) (err error) {
	v, err := p.picture(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if len(f.differs) > 0 {
		return nil
	}
	err = p.store(ctx, v, &f.snap, func(at int64) string {
		return remote.SnapshotKey(p.cfg.Bucket.Name(), p.log.Identity().NodeID, at)
	})
	if err != nil {
		err = fmt.Errorf("store a snapshot: %w", err)
	}
	return err
}

// ended says that there is a task whose goroutine has ended.
func (t *task) ended() bool {
	if t == nil {
		return false
	}
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// isNamed reports whether the manifest names the snapshot of t.
func (t *task) isNamed() bool { return t != nil && t.named }

// snapshotOf is the snapshot that the manifest names, if it has all up to sequence.
func (t *task) snapshotOf(sequence int64) (snap remote.Snapshot) {
	if t.isNamed() && t.state.snap.Sequence >= sequence {
		snap = t.state.snap
	}
	return snap
}

// wait returns when the task has ended or ctx does. Who has started it waits for its
// end in any case: with ctx it ends, too.
func (t *task) wait(ctx context.Context) error {
	if t.parent == ctx {
		<-t.done
		return ctx.Err()
	}
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drop interrupts a task that belongs to a history which this session does not go on
// with. What it may have stored is garbage: no manifest names it.
func (p *snapshotter) drop() {
	if p.task != nil {
		p.task.dropped = true
		p.task.cancel()
	}
}

// finish ends a task whose goroutine has ended: the manifest names its snapshot. If
// that fails, the next round tries again.
func (p *snapshotter) finish(ctx context.Context) error {
	t := p.task
	switch {
	case !t.ended():
		return nil
	case t.dropped, errors.Is(t.err, errDropped):
		p.task = nil
		return nil
	case t.err != nil:
		p.task = nil
		return p.failing(t.err)
	case len(t.state.differs) > 0:
		p.task = nil
		return p.distrust(ctx, t.state.differs)
	}
	if err := p.name(ctx, t); err != nil {
		return err
	}
	p.task, p.ailment = nil, ailment{}
	snap := t.state.snap
	p.status.lastSnapshot.Store(snap.Time)
	p.event(event.SnapshotStored, "stored a snapshot", "key", snap.Key, "sequence", snap.Sequence, "bytes", snap.Size)
	return nil
}

// name lets the manifest name a snapshot that is stored. If a barrier came after its
// state, the manifest confirms no more than what can be restored without another
// snapshot.
func (p *snapshotter) name(ctx context.Context, t *task) error {
	snap := &t.state.snap
	if err := p.epoch.settle(ctx); err != nil { // first: it may turn out to be named already
		return err
	}
	to := remote.Position{Sequence: p.books.Acked, Chain: p.books.Chain}
	if p.books.Barrier > snap.Sequence {
		to = remote.Position{Sequence: snap.Sequence, Chain: snap.Chain}
		if m := p.epoch.current(); m.LatestSequence > to.Sequence {
			to = remote.Position{Sequence: m.LatestSequence, Chain: m.ChainHead}
		}
	}
	earliest, err := p.log.Earliest(snap.Sequence, to.Sequence)
	if err != nil {
		return err
	}
	beyond, err := p.log.Earliest(to.Sequence, p.books.Acked)
	if err != nil {
		return err
	}
	since := max(p.books.BytesSince-t.sent, 0)
	err = p.epoch.confirm(ctx, func(m *remote.Manifest) {
		m.LatestSequence, m.ChainHead, m.Earliest = to.Sequence, to.Chain, told(earliest)
		if !slices.ContainsFunc(m.Snapshots, func(s remote.Snapshot) bool { return s.Key == snap.Key }) {
			m.AddSnapshot(*snap)
		}
	})
	if err != nil {
		return err
	}
	*snap, t.named = p.epoch.current().Snapshots[len(p.epoch.current().Snapshots)-1], true
	b := p.books
	b.BytesSince, b.Earliest = since, min(b.Earliest, beyond)
	return p.adopt(ctx, b, snap.Digests, snap.Sequence)
}
