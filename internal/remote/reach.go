package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/seal"
)

// extent is what a manifest leads to: the main history and the branches beside it, with
// their snapshots and manifests.
type extent struct {
	m         *Manifest
	main      *line
	branches  []*line
	snapshots map[string]Snapshot // by key
	manifests map[string]Stored   // of branches, by key
	refused   map[string]error    // objects named like a branch's manifest that are none
}

// reach finds what m leads to among objects, and proves the histories that the batches in
// old belong to.
func (b *Bucket) reach(ctx context.Context, m *Manifest, objects, old []object) (*extent, error) {
	r := &extent{m: m, main: mainLine(m), snapshots: map[string]Snapshot{}, manifests: map[string]Stored{}, refused: map[string]error{}}
	if len(old) == 0 {
		return r, nil
	}
	r.name(m.Snapshots)
	for _, br := range m.branches(objects) {
		r.branches = append(r.branches, &line{m: m.onto(br), from: br.From - 1, chains: map[int64]batch.Chain{}})
	}
	if err := b.branchManifests(ctx, r, objects); err != nil {
		return nil, err
	}
	for _, o := range old {
		if l, s := r.lineOf(o); l != nil {
			l.ask(o.batch.From - 1)
			l.ask(cut(s, o.batch))
		}
	}
	return r, r.prove(ctx, b)
}

// name records the snapshots that a manifest names.
func (r *extent) name(snapshots []Snapshot) {
	for _, s := range snapshots {
		r.snapshots[s.Key] = s
	}
}

// branchManifests reads the manifests of the branches beside the history.
func (b *Bucket) branchManifests(ctx context.Context, r *extent, objects []object) error {
	for _, o := range objects {
		if _, orphan := r.m.orphaned(o.batch); o.kind != branchObject || !orphan {
			continue
		}
		own, err := b.branchManifest(ctx, r.m.DatabaseID, o.batch.branch(), o.Key)
		switch {
		case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
			continue
		case IsDamage(err) || errors.Is(err, seal.ErrKey):
			r.refused[o.Key] = err
			continue
		case err != nil:
			return err
		}
		r.manifests[o.Key] = own
		r.name(own.Snapshots)
		for _, l := range r.branches {
			if l.m.NodeID == own.NodeID && l.m.Epoch == own.Epoch {
				l.begin(own.Snapshots)
			}
		}
	}
	return nil
}

// lineOf returns the history that batch o belongs to, and its span there; nil if none.
func (r *extent) lineOf(o object) (*line, Span) {
	if o.kind != batchObject {
		return nil, Span{}
	}
	if s, found := r.main.spanOf(o.batch); found {
		return r.main, s
	}
	for _, l := range r.branches {
		if s, found := l.spanOf(o.batch); found && s.NodeID == l.m.NodeID && s.Epoch == l.m.Epoch {
			return l, s
		}
	}
	return nil, Span{}
}

// prove walks along the histories for which a chain was asked. The main history comes
// first, because the branches leave it.
func (r *extent) prove(ctx context.Context, b *Bucket) error {
	for _, l := range r.branches {
		if len(l.chains) > 0 {
			r.main.ask(l.from)
		}
	}
	if len(r.main.chains) > 0 {
		if err := r.main.prove(ctx, b); err != nil {
			return err
		}
	}
	for _, l := range r.branches {
		if len(l.chains) == 0 {
			continue
		}
		if base := (Position{l.from, r.main.chains[l.from]}); base.Chain != (batch.Chain{}) {
			l.starts = append([]Position{base}, l.starts...)
		}
		if err := l.prove(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// branch returns the manifest of a branch that o holds.
func (r *extent) branch(o object) (Stored, error) {
	if own, found := r.manifests[o.Key]; found {
		return own, nil
	}
	if err := r.refused[o.Key]; err != nil {
		return Stored{}, fmt.Errorf("%w: %w", errOther, err)
	}
	return Stored{}, errUnneeded
}

// proven opens o, a batch or a snapshot. Its reader fails, at the end at the latest, if o
// is not what the manifest leads to.
func (b *Bucket) proven(r *extent, o object, sealed io.Reader) (io.Reader, error) {
	if l, s := r.lineOf(o); l != nil {
		p, err := l.proof(o.batch, s)
		if err != nil {
			return nil, err
		}
		return b.provenBatch(r.m.DatabaseID, o.batch, sealed, p)
	}
	s, found := r.snapshots[o.Key]
	if !found {
		return nil, errUnneeded
	}
	plain, err := seal.NewReader(sealed, b.opts.Ring, b.context(r.m.DatabaseID, o.Key))
	if err != nil {
		return nil, err
	}
	return &snapshotReader{Reader: plain, want: s, sum: sha256.New()}, nil
}
