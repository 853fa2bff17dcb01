package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

// ErrNoBranch means that the bucket has no branch of that name.
var ErrNoBranch = errors.New("no such branch")

// Branch is what a session stored that is not part of the history, because another writer
// had taken over the database. It leaves the history before From.
//
// Usually a branch consists of batches. They do not suffice if they cross a barrier, or
// if the history that they continue is not kept as long as they are. The branch then has
// its own snapshot, and a manifest that names it.
type Branch struct {
	NodeID   string
	Epoch    int64
	From, To int64
	Objects  int
	Bytes    int64
	Time     time.Time // when the newest of its objects was stored

	manifest string // key of its own manifest, if it has one
}

// ID names the branch within its database.
func (b Branch) ID() string { return fmt.Sprintf("%s.e%d", b.NodeID, b.Epoch) }

// Branches lists the branches beside the history that m describes, oldest epoch first. It
// lists all of the nodes' objects.
func (b *Bucket) Branches(ctx context.Context, m *Manifest) ([]Branch, error) {
	objects, err := b.nodes(ctx)
	return m.branches(objects), err
}

// nodes returns all objects that nodes have stored.
func (b *Bucket) nodes(ctx context.Context) (all []object, err error) {
	for o, err := range b.objects(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// branches finds the branches that the names of objects, in listing order, describe.
func (m *Manifest) branches(objects []object) []Branch {
	found := map[string]*Branch{}
	for _, o := range objects {
		id := o.batch.branch()
		br := found[id]
		if br == nil {
			br = &Branch{NodeID: o.batch.NodeID, Epoch: o.batch.Epoch}
		}
		if from, belongs := m.belongs(o, br); belongs {
			br.add(o, from)
			found[id] = br
		}
	}
	out := make([]Branch, 0, len(found))
	for _, br := range found {
		out = append(out, *br)
	}
	slices.SortFunc(out, func(x, y Branch) int {
		return cmp.Or(cmp.Compare(x.Epoch, y.Epoch), strings.Compare(x.NodeID, y.NodeID))
	})
	return out
}

// belongs reports whether o is part of branch br, and from which sequence on. br must
// hold everything that was listed before o.
func (m *Manifest) belongs(o object, br *Branch) (from int64, belongs bool) {
	from, orphan := m.orphaned(o.batch)
	switch {
	case !orphan:
		return 0, false
	case o.kind == branchObject:
		return from, true
	case o.kind == branchSnapshot:
		return from, br.manifest != "" // without a manifest, the branch was never completed
	case o.kind == batchObject && br.manifest != "":
		return from, o.batch.To >= br.From
	}
	return from, o.kind == batchObject && !m.outlived(o.batch)
}

// add counts an object. The branch begins where its manifest says, or else with the first
// of its batches.
func (b *Branch) add(o object, from int64) {
	if o.kind == branchObject {
		b.manifest = o.Key
	}
	if b.From == 0 || b.manifest == "" && from < b.From {
		b.From = from
	}
	b.To = max(b.To, o.batch.To)
	b.Objects, b.Bytes = b.Objects+1, b.Bytes+o.Size
	if o.ModTime.After(b.Time) {
		b.Time = o.ModTime
	}
}

// orphaned reports whether o, a batch or a branch, holds entries that are not part of the
// history, and from which sequence on. A session newer than the manifest belongs to a
// writer that m does not know.
func (m *Manifest) orphaned(o Batch) (from int64, orphan bool) {
	if o.Epoch > m.Epoch {
		return 0, false
	}
	for _, s := range m.Lineage {
		if s.NodeID == o.NodeID && s.Epoch == o.Epoch && m.own(s) {
			return max(s.To+1, o.From), s.To != 0 && o.To > s.To
		}
	}
	return o.From, true
}

// outlived reports whether batch o ends where m no longer describes the history. Such a
// batch may simply be old rather than part of a branch.
func (m *Manifest) outlived(o Batch) bool { return o.To <= m.Pruned || o.To < m.Lineage[0].From }

// Branch returns a manifest that describes the history up to where the branch named id
// leaves it, and the branch from there on. It also returns the branch as its object names
// describe it. An unusable branch manifest is refused; the branch is then made from its
// batches or from another manifest.
func (b *Bucket) Branch(ctx context.Context, m *Manifest, id string) (_ *Manifest, br Branch, refused []Refusal, err error) {
	objects, err := b.nodes(ctx)
	if err != nil {
		return nil, br, nil, err
	}
	for {
		if br, err = m.branch(objects, id); err != nil {
			return nil, br, nil, fmt.Errorf("database %q: %w", b.name, err)
		}
		out := m.onto(br)
		if br.manifest == "" {
			return out, br, refused, nil
		}
		own, err := b.branchManifest(ctx, m.DatabaseID, id, br.manifest)
		if err == nil {
			out.Snapshots = append(out.Snapshots, own.Snapshots...)
			out.LatestSequence, out.ChainHead = own.LatestSequence, own.ChainHead
			return out, br, refused, nil
		}
		if !IsDamage(err) && !errors.Is(err, seal.ErrKey) {
			return nil, br, nil, err
		}
		refused = append(refused, Refusal{br.manifest, err})
		objects = slices.DeleteFunc(objects, func(o object) bool { return o.Key == br.manifest })
	}
}

// branch finds the branch named id.
func (m *Manifest) branch(objects []object, id string) (Branch, error) {
	branches := m.branches(objects)
	names := make([]string, len(branches))
	for i, br := range branches {
		if names[i] = br.ID(); names[i] == id {
			return br, nil
		}
	}
	return Branch{}, fmt.Errorf("%w: %q; there are %d: %s", ErrNoBranch, id, len(names), strings.Join(names, " "))
}

// branchManifest reads the manifest of branch id stored under key.
func (b *Bucket) branchManifest(ctx context.Context, databaseID, id, key string) (Stored, error) {
	own, err := b.load(ctx, key)
	if err != nil {
		return own, fmt.Errorf("%s: %w", key, err)
	}
	if own.DatabaseID != databaseID || own.Branch != id {
		return own, fmt.Errorf("%w: %s is not the manifest of branch %s of this database", ErrCorrupt, key, id)
	}
	return own, nil
}

// onto returns a copy of m in which br is the end of the history. Only the snapshots
// count as confirmed; the chain must prove the rest.
func (m *Manifest) onto(br Branch) *Manifest {
	c, left := m.Clone(), br.From-1
	c.Branch = br.ID()
	c.NodeID, c.Epoch, c.Pruned = br.NodeID, br.Epoch, min(m.Pruned, left)
	c.Snapshots = slices.DeleteFunc(c.Snapshots, func(s Snapshot) bool { return s.Sequence > left })
	c.LatestSequence, c.ChainHead, c.Earliest = 0, m.Genesis().Chain, 0
	if n := len(c.Snapshots); n > 0 {
		c.LatestSequence, c.ChainHead = c.Snapshots[n-1].Sequence, c.Snapshots[n-1].Chain
	}
	c.Lineage = slices.DeleteFunc(c.Lineage, func(s Span) bool { return s.From > left })
	if n := len(c.Lineage); n > 0 {
		last := &c.Lineage[n-1]
		if last.To == 0 || last.To > left {
			last.To = left
		}
		if last.NodeID == br.NodeID && last.Epoch == br.Epoch {
			last.To = 0
			return c
		}
	}
	c.Lineage = append(c.Lineage, Span{NodeID: br.NodeID, Epoch: br.Epoch, From: br.From})
	return c
}

// ErrUndecided means that a session is about to take over, and has not yet said how much
// of what the last writer stored is part of the history.
var ErrUndecided = errors.New("another session has begun to take this database over; once it has, what is not part of the history becomes a branch")

// Parting determines what became of a session that is no longer the writer. last is the
// last manifest it wrote. o describes what it has: its first and last change, and the
// node id under which it now stores batches. Parting returns the branch that this makes,
// if any, and based, which reports whether batches suffice for it because what they
// continue is kept at least as long as they are. ErrLost means that the other writer is a
// twin, a copy of this machine made while it ran: what the two store under one name and
// epoch cannot be told apart. After ErrUndecided, ask again later.
func (b *Bucket) Parting(ctx context.Context, last Stored, o Batch) (branch Batch, exists, based bool, err error) {
	now, err := b.Manifest(ctx)
	for tries := 2; tries > 0 && beyond(err); tries-- {
		now, err = b.Manifest(ctx) // it may have been corrupted in transit
	}
	switch {
	case beyond(err):
		return o, true, false, nil // those who can read the manifest must find the whole branch beside it
	case errors.Is(err, ErrNoBackup):
		return o, false, false, nil // without a history beside it, a branch cannot be restored
	case err != nil:
		return o, false, false, err
	case now.DatabaseID != last.DatabaseID:
		return o, false, false, nil
	case now.Fenced && now.NodeID == last.NodeID && now.Epoch == last.Epoch:
		return o, false, false, ErrUndecided
	case now.NodeID == o.NodeID && now.Epoch == o.Epoch:
		return o, false, false, fmt.Errorf("%w: it has the same node %s and epoch %d as this one", ErrLost, o.NodeID, o.Epoch)
	}
	o.From, exists = now.orphaned(o)
	return o, exists, now.SnapshotKey == last.SnapshotKey && now.Pruned < o.From, nil
}

// beyond reports whether err means that this program cannot read the manifest but others
// may: it has another key or a newer version.
func beyond(err error) bool {
	return errors.Is(err, seal.ErrKey) || errors.Is(err, ErrVersion) || errors.Is(err, seal.ErrVersion)
}

// PutBranch stores the manifest of branch o, which ends with snapshot s. ErrLost means
// that another session has stored one under that name.
func (b *Bucket) PutBranch(ctx context.Context, databaseID string, o Batch, s Snapshot) error {
	m := &Manifest{
		Name: b.name, DatabaseID: databaseID, NodeID: o.NodeID, Epoch: o.Epoch, Nonce: rand.Text(),
		Branch: o.branch(), LatestSequence: s.Sequence, ChainHead: s.Chain, Pruned: s.Sequence,
		Lineage: []Span{{NodeID: o.NodeID, Epoch: o.Epoch, From: o.From}}, UpdatedAt: s.Time,
	}
	m.AddSnapshot(s)
	if err := m.check(b.name); err != nil {
		return fmt.Errorf("check the new manifest of branch %s: %w", o.file(), err)
	}
	key := branchKey(b.name, o)
	raw, err := b.encode(m, key)
	if err != nil {
		return err
	}
	_, err = b.store.Put(ctx, key, bytes.NewReader(raw), objstore.PutOptions{IfAbsent: true})
	if !errors.Is(err, objstore.ErrPrecondition) {
		return err
	}
	there, rerr := b.load(ctx, key)
	switch {
	case rerr != nil:
		return fmt.Errorf("%w; and the stored object cannot be read: %w", err, rerr)
	case there.ChainHead != m.ChainHead:
		return fmt.Errorf("%w: %s is another branch's manifest", ErrLost, key)
	}
	return nil // an attempt whose answer was lost stored it, with another snapshot of the same state
}
