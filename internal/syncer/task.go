package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// task makes a snapshot concurrently with the rounds: it copies, sums and stores a fixed
// state of the database while batches are uploaded. Its goroutine uses neither the token
// nor the log. After it has ended, the next round names its snapshot in the manifest.
//
// There is one task at a time, so snapshots are named in the order of their sequences.
// When a task begins, the log has been uploaded up to its state. No later entry is
// trimmed before the task has ended.
type task struct {
	ctx    context.Context // of the goroutine
	parent context.Context // of the caller that started it and waits for it
	cancel func()
	done   chan struct{} // closed when the goroutine has ended: state and err are valid then

	began time.Time
	state *fixed // its sequence never changes
	err   error

	// The holder of the token owns these.
	sent    int64 // books.BytesSince when the task began
	dropped bool  // the result is no longer wanted
	named   bool  // the manifest names its snapshot
}

// errDropped means that a task was interrupted: its result is no longer wanted.
var errDropped = errors.New("the snapshot was abandoned")

// start fixes a state of the database, and starts a task that ends with parent.
func (p *snapshotter) start(ctx, parent context.Context) error {
	began := time.Now()
	f, err := p.fix(ctx)
	if err != nil {
		return err
	}
	t := &task{parent: parent, done: make(chan struct{}), began: began, state: f, sent: p.books.BytesSince}
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

// makeSnapshot runs in a task's goroutine. It stores nothing if the file's contents differ
// from the log.
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

// ended reports whether there is a task, and its goroutine has ended.
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

// snapshotOf returns the task's snapshot, if the manifest names it and it has everything
// up to sequence.
func (t *task) snapshotOf(sequence int64) (snap remote.Snapshot) {
	if t.isNamed() && t.state.snap.Sequence >= sequence {
		snap = t.state.snap
	}
	return snap
}

// wait returns when the task or ctx has ended. If ctx is the one that started the task,
// the task ends with it, and wait always waits for the task.
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

// drop interrupts a task that belongs to a history which this session no longer
// continues. Objects that it stored are garbage: no manifest names them.
func (p *snapshotter) drop() {
	if p.task != nil {
		p.task.dropped = true
		p.task.cancel()
	}
}

// finish completes a task whose goroutine has ended: it names the snapshot in the
// manifest. If that fails, the next round tries again.
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
	p.event(event.SnapshotStored, "stored a snapshot", "key", snap.Key, "sequence", snap.Sequence, "bytes", snap.Size, "took", time.Since(t.began))
	return nil
}

// name adds a stored snapshot to the manifest. If a barrier came after its state, the
// manifest confirms only what can be restored without another snapshot.
func (p *snapshotter) name(ctx context.Context, t *task) error {
	snap := &t.state.snap
	if err := p.epoch.settle(ctx); err != nil { // first, since the snapshot may already be named
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
