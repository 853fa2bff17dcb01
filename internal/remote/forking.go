package remote

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/google/uuid"
)

// ErrNoFork means that the backup cannot be forked at the requested point.
var ErrNoFork = errors.New("a fork cannot begin there")

// GroupBelow is the size, in bytes, below which a writer's next session replaces the only
// batch of the last span, its group. It bounds how much each session must send again.
const GroupBelow = 4 << 10

// takenError means that a name cannot be used for a fork. It is an fs.ErrExist.
type takenError struct{ error }

func (takenError) Is(target error) bool { return target == fs.ErrExist }

// ForkPoint is where a fork begins: at a sequence or a time (Unix ms), or at the latest
// point if both are 0.
type ForkPoint struct{ Sequence, Time int64 }

// Fork creates a database called name that begins at a point of this one, and uses its
// objects. It returns the new manifest.
//
// The order of the steps protects what the fork needs: it reserves the name, stores its
// pins, and only then reads the manifest that it builds on. Whatever that manifest names
// has not been dropped before the pins were there, so no collection can have missed them.
// The fork exists once the manifest has replaced the reservation. If the reservation is
// gone by then, the pins may be gone too, and the fork fails.
func (b *Bucket) Fork(ctx context.Context, name string, to ForkPoint) (Stored, error) {
	m, err := b.Existing(ctx)
	if err != nil {
		return Stored{}, err
	}
	if err := b.Probe(ctx, m.NodeID, m.DatabaseID); err != nil {
		return Stored{}, err
	}
	f := &forking{b: b, fork: b.Sibling(name), id: uuid.NewString(), to: to}
	if err := f.reserve(ctx, m.Manifest); err != nil {
		return Stored{}, err
	}
	stored, err := f.create(ctx)
	if err != nil {
		err = errors.Join(err, f.giveUp(context.WithoutCancel(ctx)))
	}
	return stored, err
}

// forking is a fork that is being created.
type forking struct {
	b, fork  *Bucket
	id       string // of the new database
	to       ForkPoint
	reserved *vacancy
}

// reserve reserves the name, and stores a pin in each database whose objects the fork may
// need according to m.
func (f *forking) reserve(ctx context.Context, m *Manifest) error {
	prev, epoch := "", int64(0)
	var there *vacancy
	switch _, err := f.fork.Existing(ctx); {
	case err == nil:
		return takenError{fmt.Errorf("there is a backup %q already", f.fork.name)}
	case errors.As(err, &there) && there.Reserved: // an attempt that died, or that loses the race
		left, err := f.fork.vacate(ctx, there.etag, *there)
		if err == nil {
			_, err = f.fork.finish(ctx, left)
		}
		if err != nil {
			return fmt.Errorf("free the name %q: %w", f.fork.name, err)
		}
		prev, epoch = left.etag, left.Epoch
	case errors.Is(err, ErrNameTaken):
		return takenError{fmt.Errorf("the name %q cannot be used yet: %v", f.fork.name, err)}
	case !errors.Is(err, ErrNoBackup):
		return err
	case there != nil:
		prev, epoch = there.etag, there.Epoch
	}
	origins := []string{f.b.name}
	for _, o := range m.Origins {
		origins = append(origins, o.Name)
	}
	var err error
	if f.reserved, err = f.fork.occupy(ctx, prev, vacancy{Reserved: true, DatabaseID: f.id, Epoch: epoch, Origins: origins}); err != nil {
		return fmt.Errorf("reserve the name %q: %w", f.fork.name, err)
	}
	for _, o := range origins {
		if err := f.b.pin(ctx, o, f.fork.name, f.id); err != nil {
			return errors.Join(fmt.Errorf("store the fork's pin in %s: %w", o, err), f.giveUp(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// giveUp frees the name, and removes the pins and what was copied. If it fails half way, a
// collection of an origin does the rest.
func (f *forking) giveUp(ctx context.Context) error {
	left, err := f.fork.vacate(ctx, f.reserved.etag, *f.reserved)
	if errors.Is(err, ErrLost) {
		return nil // somebody else has the name, or the fork was created after all
	}
	if err != nil {
		return err
	}
	_, err = f.fork.finish(ctx, left)
	return err
}

// maxForkTries is how often Fork begins anew because a writer has replaced what it was
// reading.
const maxForkTries = 20

// create builds the fork's manifest and stores it.
func (f *forking) create(ctx context.Context) (Stored, error) {
	var m, last *Manifest
	for range maxForkTries {
		parent, err := f.b.Manifest(ctx)
		if err != nil {
			return Stored{}, err
		}
		for _, o := range parent.Origins {
			if !slices.Contains(f.reserved.Origins, o.Name) {
				return Stored{}, fmt.Errorf("%w: %s was replaced meanwhile", ErrLost, manifestKey(f.b.name))
			}
		}
		m, err = f.build(ctx, parent.Manifest)
		if IsDamage(err) && (last == nil || last.Nonce != parent.Nonce) {
			last = parent.Manifest // a batch may have been replaced by one that a newer manifest names
			continue
		}
		if err != nil {
			return Stored{}, err
		}
		break
	}
	stored, err := f.fork.Swap(ctx, Stored{etag: f.reserved.etag}, m)
	if err != nil {
		err = fmt.Errorf("store the manifest of the fork %s: %w", f.fork.name, err)
	}
	return stored, err
}

// build returns the manifest of a fork of the history that m describes.
func (f *forking) build(ctx context.Context, m *Manifest) (*Manifest, error) {
	w, err := f.b.walkTo(ctx, m, f.to)
	if err != nil {
		return nil, err
	}
	defer w.ahead.close()
	at, last := w.pos, m.Lineage[len(m.Lineage)-1]
	c := m.Clone()
	c.Name, c.DatabaseID, c.NodeID = f.fork.name, f.id, strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	c.Epoch, c.Released, c.Fenced, c.UpdatedAt = f.reserved.next(m.Epoch+1), true, false, time.Now().UnixMilli()
	c.LatestSequence, c.ChainHead, c.Earliest = at.Sequence, at.Chain, m.earliestAt(at.Sequence)
	c.Snapshots = slices.DeleteFunc(c.Snapshots, func(s Snapshot) bool { return s.Sequence > at.Sequence })
	c.SnapshotKey, c.SnapshotTime, c.SnapshotSequence = "", 0, 0
	if n := len(c.Snapshots); n > 0 {
		s := c.Snapshots[n-1]
		c.SnapshotKey, c.SnapshotTime, c.SnapshotSequence = s.Key, s.Time, s.Sequence
	}
	inherited := at.Sequence
	if begin, found := w.group(last); found {
		inherited = begin.Sequence
		if err := f.copy(ctx, m, begin, at, c.NodeID, c.Epoch); err != nil {
			return nil, err
		}
	}
	c.inherit(m, inherited)
	c.Parent = &Parent{Name: m.Name, DatabaseID: m.DatabaseID, Sequence: at.Sequence, Root: m.root()}
	return c, nil
}

// inherit makes the part of m's history up to sequence to another database's, and opens
// the span of m's new writer after it.
func (m *Manifest) inherit(parent *Manifest, to int64) {
	m.Lineage = slices.DeleteFunc(m.Lineage, func(s Span) bool { return s.From > to })
	if n := len(m.Lineage); n > 0 && (m.Lineage[n-1].To == 0 || m.Lineage[n-1].To > to) {
		m.Lineage[n-1].To = to
	}
	m.Origins = append(m.Origins, Origin{Name: parent.Name, DatabaseID: parent.DatabaseID, To: to})
	for i := range m.Origins {
		o := &m.Origins[i]
		o.To, o.Pruned, o.Snapshots = min(o.To, to), m.Pruned, nil // nobody reads an older manifest of the fork
	}
	named := func(o Origin) bool {
		return slices.ContainsFunc(m.Snapshots, func(s Snapshot) bool { return o.holds(s.Key) }) ||
			slices.ContainsFunc(m.Lineage, func(s Span) bool { return m.home(s) == o.home() })
	}
	origins := slices.DeleteFunc(slices.Clone(m.Origins), func(o Origin) bool { return !named(o) })
	m.Origins = origins
	m.Lineage = append(m.Lineage, Span{NodeID: m.NodeID, Epoch: m.Epoch, From: to + 1})
}

// earliestAt is Manifest.Earliest as it would be if m confirmed no more than sequence. It
// may be too small.
func (m *Manifest) earliestAt(sequence int64) int64 {
	earliest := m.Earliest
	for _, s := range slices.Backward(m.Snapshots) {
		if s.Sequence <= sequence {
			break
		}
		earliest = s.Earliest
	}
	return earliest
}

// walkTo walks to a point of m's history from the newest snapshot before it, or from the
// beginning, under m and no other manifest. The point must be one that can be restored, and
// that m confirms: what is not confirmed may still turn out not to be part of the history.
func (b *Bucket) walkTo(ctx context.Context, m *Manifest, to ForkPoint) (_ *walk, err error) {
	sequence := cmp.Or(to.Sequence, m.LatestSequence)
	if to.Time != 0 {
		if sequence, _, err = b.Locate(ctx, m, to.Time); err != nil {
			return nil, err
		}
	}
	switch {
	case sequence == 0:
		return nil, fmt.Errorf("%w: nothing is stored yet", ErrNoFork)
	case sequence > m.LatestSequence:
		return nil, fmt.Errorf("%w: that is sequence %d, and the manifest confirms changes up to %d; Flush confirms what is stored", ErrNoFork, sequence, m.LatestSequence)
	}
	start, last := m.Genesis(), m.Lineage[len(m.Lineage)-1]
	for _, s := range m.Snapshots {
		if s.Sequence <= sequence {
			start = Position{s.Sequence, s.Chain}
		}
	}
	var look barrierSink
	w := newWalk(ctx, b, m, start)
	w.target, w.sink, w.done = Target{sequence}, &look, sequence == start.Sequence
	w.chains = map[int64]batch.Chain{last.From - 1: {}}
	if start.Sequence == last.From-1 {
		w.chains[start.Sequence] = start.Chain
	}
	err = w.run()
	switch {
	case err != nil:
	case look.tx != 0:
		err = fmt.Errorf("%w: after sequence %d the log cannot be replayed up to the next snapshot; choose an earlier or a later point", ErrNoFork, look.tx-1)
	case w.pos.Sequence == 0:
		err = fmt.Errorf("%w: its first transaction ends later", ErrNoFork)
	}
	if err != nil {
		w.ahead.close()
	}
	return w, err
}

// group returns where the last span begins, if the walk has ended in a batch there that the
// writer's next session may replace: the first of the span, and small. The session puts its
// entries into a batch of another session, and deletes it, so a fork must not rely on it.
// If a manifest confirms more than this batch, the session has stored another one, and the
// first is never replaced.
func (w *walk) group(last Span) (begin Position, found bool) {
	begin.Sequence = last.From - 1
	begin.Chain = w.chains[begin.Sequence]
	if begin.Chain == (batch.Chain{}) || w.pos.Sequence <= begin.Sequence {
		return begin, false
	}
	return begin, slices.ContainsFunc(w.batches(last), func(o Batch) bool {
		return o.From == last.From && o.To >= w.pos.Sequence && o.Size < GroupBelow
	})
}

// copy stores the entries between two positions as a batch of the fork.
func (f *forking) copy(ctx context.Context, m *Manifest, from, to Position, node string, epoch int64) error {
	name := Batch{NodeID: node, Epoch: epoch, From: from.Sequence + 1, To: to.Sequence}
	var sealed bytes.Buffer
	dst, err := f.fork.SealBatch(&sealed, f.id, BatchKey(f.fork.name, name))
	if err != nil {
		return err
	}
	out := &copySink{w: batch.NewWriter(dst, batch.Header{NodeID: node, Epoch: epoch, From: name.From, Prev: from.Chain})}
	w := newWalk(ctx, f.b, m, from)
	defer w.ahead.close()
	w.target, w.sink = Target{to.Sequence}, out
	if err := w.run(); err != nil {
		return err
	}
	if w.pos != to {
		return fmt.Errorf("%w: the batch after sequence %d has changed", ErrCorrupt, from.Sequence)
	}
	trailer, err := out.w.Close()
	if err == nil && trailer.Head != to.Chain {
		err = fmt.Errorf("%w: the copy of the changes up to %d has another chain", ErrCorrupt, to.Sequence)
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return err
	}
	return f.fork.PutBatch(ctx, f.id, name, sealed.Bytes())
}

// copySink writes what a walk reads to a batch.
type copySink struct{ w *batch.Writer }

func (s *copySink) Begin() error { return nil }
func (s *copySink) Rollback() error {
	return errors.New("a batch that was to be copied cannot be read")
}

func (s *copySink) Apply(r *batch.Record) error {
	if r.First {
		if err := s.w.Begin(r.Tx, r.Time); err != nil {
			return err
		}
	}
	if err := s.w.Add(&r.Entry); err != nil {
		return err
	}
	if r.Last {
		return s.w.End()
	}
	return nil
}

func (s *copySink) Commit(_ Position, digests digest.Report) error {
	s.w.SetDigests(digests)
	return nil
}
