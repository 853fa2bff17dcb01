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
var errDropped = errors.New("the snapshot was given up")

// start fixes a state of the database, sends what the log holds up to it, and starts
// a task, which does not outlive parent.
func (s *Syncer) start(ctx, parent context.Context) error {
	f, err := s.fix()
	if err != nil {
		return s.examined(err)
	}
	if err := s.upload(ctx, f.snap.Sequence); err != nil {
		return errors.Join(err, f.conn.Close())
	}
	t := &task{parent: parent, done: make(chan struct{}), state: f, sent: s.books.BytesSince}
	t.ctx, t.cancel = s.bound(parent)
	s.task = t
	go func() {
		defer s.Wake()
		defer close(t.done)
		defer t.cancel()
		if t.err = s.makeSnapshot(t.ctx, f); t.err != nil && t.ctx.Err() != nil {
			t.err = errDropped
		}
	}()
	return nil
}

// makeSnapshot is what a task's goroutine does. It stores nothing if the file does not
// hold what the log says.
func (s *Syncer) makeSnapshot(ctx context.Context, f *fixed) (err error) {
	v, err := s.picture(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if len(f.differs) > 0 {
		return nil
	}
	err = s.store(ctx, v, &f.snap, func(at int64) string {
		return remote.SnapshotKey(s.cfg.Bucket.Name(), s.log.Identity().NodeID, at)
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
func (s *Syncer) drop() {
	if s.task != nil {
		s.task.dropped = true
		s.task.cancel()
	}
}

// finish ends a task whose goroutine has ended: the manifest names its snapshot. If
// that fails, the next round tries again.
func (s *Syncer) finish(ctx context.Context) error {
	t := s.task
	switch {
	case !t.ended():
		return nil
	case t.dropped, errors.Is(t.err, errDropped):
		s.task = nil
		return nil
	case t.err != nil:
		s.task = nil
		return s.failing(t.err)
	case len(t.state.differs) > 0:
		s.task = nil
		return s.distrust(ctx, t.state.differs)
	}
	if err := s.name(ctx, t); err != nil {
		return err
	}
	s.task, s.ailment = nil, ailment{}
	snap := t.state.snap
	s.status.lastSnapshot.Store(snap.Time)
	s.event(event.SnapshotStored, "stored a snapshot", "key", snap.Key, "sequence", snap.Sequence, "bytes", snap.Size)
	return nil
}

// name lets the manifest name a snapshot that is stored. If a barrier came after its
// state, the manifest confirms no more than what can be restored without another
// snapshot.
func (s *Syncer) name(ctx context.Context, t *task) error {
	snap := &t.state.snap
	if err := s.settle(ctx); err != nil { // first: it may turn out to be named already
		return err
	}
	to := remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain}
	if s.books.Barrier > snap.Sequence {
		to = remote.Position{Sequence: snap.Sequence, Chain: snap.Chain}
		if m := s.manifest; m.LatestSequence > to.Sequence {
			to = remote.Position{Sequence: m.LatestSequence, Chain: m.ChainHead}
		}
	}
	earliest, err := s.log.Earliest(snap.Sequence, to.Sequence)
	if err != nil {
		return err
	}
	beyond, err := s.log.Earliest(to.Sequence, s.books.Acked)
	if err != nil {
		return err
	}
	since := max(s.books.BytesSince-t.sent, 0)
	err = s.confirm(ctx, func(m *remote.Manifest) {
		m.LatestSequence, m.ChainHead, m.Earliest = to.Sequence, to.Chain, told(earliest)
		if !slices.ContainsFunc(m.Snapshots, func(s remote.Snapshot) bool { return s.Key == snap.Key }) {
			m.AddSnapshot(*snap)
		}
	})
	if err != nil {
		return err
	}
	*snap, t.named = s.manifest.Snapshots[len(s.manifest.Snapshots)-1], true
	b := s.books
	b.BytesSince, b.Earliest = since, min(b.Earliest, beyond)
	return s.adopt(ctx, b, snap.Digests, snap.Sequence)
}
