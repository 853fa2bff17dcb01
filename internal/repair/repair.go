// Package repair rebuilds the manifest of a bucket that has lost it. It takes nothing for
// granted: what it says of the history is proven by the chain, by digests and by a
// restore. What cannot be proven is left out and listed.
package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var (
	// ErrDamaged means that there is a manifest, that it is unusable, and that its
	// replacement has not been allowed.
	ErrDamaged = errors.New("the manifest is damaged")
	// ErrNoID means that the bucket does not tell which database the objects belong to.
	ErrNoID = errors.New("the bucket does not tell the database's ID: pass the database's own file or its ID")
	// ErrUnproven means that there is no point that can be restored and proven.
	ErrUnproven = fmt.Errorf("%w: no point of the history can be verified", remote.ErrCorrupt)
)

// Options says how to repair.
type Options struct {
	DatabaseID string // if known to the caller
	Known      *Known // what the database's file says; nil if there is none
	Force      bool   // replace a damaged manifest; leave out objects that no key opens
	DryRun     bool   // write nothing
	OnConnect  func(*sqlite.Registrar) error
}

// Known is what the database's file knows of its bucket.
type Known struct {
	DatabaseID string
	At         remote.Position // the position up to which the bucket has its changes
	Digests    digest.Set      // of the tables at that position

	Snapshot, SnapshotSize int64 // the newest snapshot's sequence and object size; sequence -1 if there is none
}

func (k *Known) report() digest.Report {
	r := digest.Report{}
	for table, sum := range k.Digests {
		r[table] = &sum
	}
	return r
}

// Result is what the repair found.
type Result struct {
	Manifest *remote.Manifest // as stored, or as it would be
	Was      string           // what was in its place; empty if nothing
	From     int64            // the first change whose chain is proven
	Restored restore.Result   // the restore of the latest point
	Left     []remote.Refusal // what is not part of the history, and why
}

// leap bounds how far the new epoch is ahead of every other one. It is chosen at random,
// so that its names cannot be predicted and do not collide with those of a writer that
// still uses an old epoch.
const leap = 1 << 20

// Run makes a manifest for b, and stores it unless this is a dry run.
func Run(ctx context.Context, b *remote.Bucket, o Options) (res Result, err error) {
	lost, err := b.Lost(ctx)
	if err != nil {
		return res, err
	}
	if lost.Why != nil {
		if res.Was = fmt.Sprintf("%s (%v)", lost.Told, lost.Why); !o.Force && !o.DryRun {
			return res, fmt.Errorf("%w: %s", ErrDamaged, res.Was)
		}
	}
	if _, err := b.Existing(ctx); errors.Is(err, remote.ErrNoBackup) {
		return res, err
	}
	r := &repair{b: b, o: o, last: lost.Last}
	if r.id, err = r.identify(ctx, lost.ID); err != nil {
		return res, err
	}
	if err := r.read(ctx); err != nil {
		return res, err
	}
	if err := r.choose(ctx, &res); err != nil {
		return res, err
	}
	res.Left = r.leftovers()
	if o.DryRun {
		return res, nil
	}
	stored, err := b.Swap(ctx, lost.Stored, res.Manifest)
	if err != nil {
		return res, fmt.Errorf("store the manifest: %w", err)
	}
	res.Manifest = stored.Manifest
	return res, nil
}

type repair struct {
	b    *remote.Bucket
	o    Options
	id   string
	last int64 // epoch

	survey    remote.Survey
	snapshots []*snapshot
	left      []remote.Refusal
	chosen    path
}

// identify finds the id of the database that the objects belong to.
func (r *repair) identify(ctx context.Context, damaged string) (string, error) {
	var ids []string
	switch {
	case r.o.DatabaseID != "" && r.o.Known != nil && r.o.DatabaseID != r.o.Known.DatabaseID:
		return "", fmt.Errorf("the file belongs to database %s, not %s", r.o.Known.DatabaseID, r.o.DatabaseID)
	case r.o.DatabaseID != "":
		ids = []string{r.o.DatabaseID}
	case r.o.Known != nil:
		ids = []string{r.o.Known.DatabaseID}
	default:
		told, err := r.b.DatabaseIDs(ctx)
		if err != nil {
			return "", err
		}
		if ids = told; damaged != "" && !slices.Contains(ids, damaged) {
			ids = append(ids, damaged)
		}
	}
	var vouched, untold []string
	for _, id := range ids {
		switch doubt, err := r.b.Vouch(ctx, id); {
		case err != nil:
			return "", err
		case doubt == remote.Vouched:
			vouched = append(vouched, id)
		case doubt == remote.Untold:
			untold = append(untold, id)
		}
	}
	switch {
	case len(vouched) == 1:
		return vouched[0], nil
	case len(vouched) == 0 && len(untold) == 1:
		return untold[0], nil
	case len(vouched)+len(untold) > 1:
		return "", fmt.Errorf("%w: it may be one of %s", ErrNoID, strings.Join(append(vouched, untold...), ", "))
	case len(ids) > 0:
		return "", fmt.Errorf("%w: the objects do not belong to database %s", ErrNoID, strings.Join(ids, " or "))
	}
	return "", ErrNoID
}

// read reads everything in the bucket.
func (r *repair) read(ctx context.Context) (err error) {
	var also []int64
	if r.o.Known != nil {
		also = append(also, r.o.Known.At.Sequence)
	}
	if r.survey, err = r.b.Survey(ctx, r.id, also...); err != nil {
		return err
	}
	r.last = max(r.last, r.survey.Last)
	r.left = slices.Clone(r.survey.Unusable)
	for _, s := range r.survey.Snapshots {
		if err := r.look(ctx, s); err != nil {
			return err
		}
	}
	for _, l := range r.left {
		if l.Locked() && !r.o.Force { // it may be part of the history, or foreign
			return fmt.Errorf("%s: %w; with Force, such objects are left out", l.Key, l.Why)
		}
	}
	return nil
}

// choose takes the best history that has a provable point.
func (r *repair) choose(ctx context.Context, res *Result) error {
	genesis := remote.Position{Chain: batch.Genesis(r.id)}
	f := plant(genesis, r.survey.Pieces)
	paths := f.paths(r.survey.Branches)
	for _, at := range r.rootless(f) {
		paths = append(paths, path{root: at, end: at, holds: map[remote.Position]bool{at: true}})
	}
	var failed error
	for _, p := range paths {
		m, base, err := r.describe(ctx, p, p.root == genesis)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		proven, err := r.prove(ctx, m, 0)
		if err != nil && misfits(err) {
			failed = cmp.Or(failed, err)
			continue
		}
		if err != nil {
			return err
		}
		res.Manifest, res.Restored, res.From = m, proven, base+1
		return nil
	}
	if failed != nil {
		return fmt.Errorf("%w: %w", ErrUnproven, failed)
	}
	return fmt.Errorf("%w: %s", ErrUnproven, r.why(len(paths)))
}

// why tells what is missing.
func (r *repair) why(paths int) string {
	say := fmt.Sprintf("there are %d batches and %d snapshots that can be read", len(r.survey.Pieces), len(r.snapshots))
	if len(r.snapshots) > 0 {
		say += "; nothing tells which changes the snapshots have, but the database's own file may"
	}
	return say
}

// rootless returns positions that no batch leads to, at which only a snapshot may be
// left: the position that the file gives for the bucket, and those that snapshots give
// for themselves.
func (r *repair) rootless(f *forest) (at []remote.Position) {
	add := func(p remote.Position) {
		if _, known := f.root[p]; !known && !slices.Contains(at, p) && p.Sequence > 0 {
			at = append(at, p)
		}
	}
	if r.o.Known != nil {
		add(r.o.Known.At)
	}
	for _, s := range r.snapshots {
		if s.says != nil {
			add(*s.says)
		}
	}
	return at
}

// describe makes the manifest of the history p, up to where it can be restored. It is nil
// if nothing can be.
func (r *repair) describe(ctx context.Context, p path, genesis bool) (m *remote.Manifest, from int64, err error) {
	known := r.o.Known
	if known != nil && !p.holds[known.At] {
		known = nil
	}
	barriers, err := locate(ctx, r.b, r.manifest(p, nil), p, genesis, r.snapshots, known)
	if err != nil {
		return nil, 0, err
	}
	placed, err := r.place(ctx, p, barriers)
	if err != nil {
		return nil, 0, err
	}
	base := int64(0)
	if n := len(placed); n > 0 {
		base = placed[n-1].Sequence
	} else if !genesis {
		return nil, 0, nil
	}
	if near := before(barriers, base, p.end.Sequence); near < p.end.Sequence {
		end, err := r.at(ctx, p, candidate{sequence: near, from: p.root})
		if err != nil {
			return nil, 0, err
		}
		p = p.cut(end)
	}
	if len(placed) == 0 && p.end.Sequence == 0 {
		return nil, 0, nil
	}
	r.chosen = p
	return r.manifest(p, placed), p.root.Sequence, nil
}

// before returns the last change, at most to, that can be replayed from base: the one
// before the first barrier.
func before(barriers []int64, base, to int64) int64 {
	for _, b := range barriers {
		if b > base && b <= to {
			return b - 1
		}
	}
	return to
}

// manifest describes the history p with the given snapshots, oldest first. Its writer is
// a future session of the node that wrote last.
func (r *repair) manifest(p path, snapshots []remote.Snapshot) *remote.Manifest {
	m := &remote.Manifest{
		Name: r.b.Name(), DatabaseID: r.id, Epoch: max(r.last, p.epoch),
		Lineage: slices.Clone(p.spans), UpdatedAt: time.Now().UnixMilli(),
	}
	m.Epoch += rand.Int64N(leap)
	m.Takeover(cmp.Or(p.node, "repair"), p.end)
	for _, s := range snapshots {
		m.AddSnapshot(s)
	}
	return m
}

// leftovers lists what is not part of the history: unusable objects, and those that
// nothing connects with it.
func (r *repair) leftovers() []remote.Refusal {
	left := r.left
	for _, p := range r.survey.Pieces {
		if !r.chosen.has(p) {
			left = append(left, remote.Refusal{Key: remote.BatchKey(r.b.Name(), p.Batch), Why: errApart})
		}
	}
	for _, s := range r.snapshots {
		if !s.placed {
			left = append(left, remote.Refusal{Key: s.Key, Why: errNowhere})
		}
	}
	for _, key := range r.survey.Strange {
		left = append(left, remote.Refusal{Key: key, Why: errStrange})
	}
	slices.SortFunc(left, func(x, y remote.Refusal) int { return strings.Compare(x.Key, y.Key) })
	return left
}

var (
	errApart   = errors.New("it is not part of the history; it may be a branch of it")
	errNowhere = errors.New("its place in the history cannot be verified")
	errStrange = errors.New("DriftDB does not create objects with this name")
)
