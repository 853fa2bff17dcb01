package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// pinsFolder holds a pin for each fork in each of its origins:
//
//	forks/{origin}/{fork}/{fork's database id}
//
// A pin says that the database named fork may need objects of origin. What it needs is in
// that database's manifest, and nowhere else. A pin is stored after the fork's name was
// reserved, and before the fork reads the manifest that it begins with. So whoever lists
// the pins after dropping something from a manifest finds those of every fork that may
// still have seen it there.
const pinsFolder = "forks/"

// pin is a pin of a fork in this database.
type pin struct{ key, fork, databaseID string }

func pinKey(origin, fork, databaseID string) string {
	return pinsFolder + origin + "/" + fork + "/" + databaseID
}

// pins lists the pins of this database's forks.
func (b *Bucket) pins(ctx context.Context) (out []pin, err error) {
	folder := pinsFolder + b.name + "/"
	for info, err := range b.store.List(ctx, folder, objstore.ListOptions{}) {
		if err != nil {
			return nil, err
		}
		fork, id, ok := strings.Cut(strings.TrimPrefix(info.Key, folder), "/")
		if ok && CheckName("fork", fork) == nil && fork != b.name {
			out = append(out, pin{info.Key, fork, id})
		}
	}
	return out, nil
}

// pin stores a pin of fork in the database named origin.
func (b *Bucket) pin(ctx context.Context, origin, fork, databaseID string) error {
	text := fmt.Sprintf("Database %s may need objects of database %s.\n", fork, origin)
	_, err := b.store.Put(ctx, pinKey(origin, fork, databaseID), bytes.NewReader([]byte(text)), objstore.PutOptions{})
	return err
}

// Sibling returns the bucket of another database in the same store.
func (b *Bucket) Sibling(name string) *Bucket { return New(b.store, name, b.opts) }

// Held is what forks need of a database's objects.
type Held struct {
	Forks []string // their names

	// Unclear says why everything must be kept, or is nil: what a fork needs is not known.
	Unclear error

	needs []need
	dead  []string   // keys of pins that no fork needs any more, and never will
	stale []*vacancy // reservations of forks that nobody is creating any more
}

// need is a fork's manifest, and the origin in it that stands for this database.
type need struct {
	m      *Manifest
	origin Origin
}

// Held finds out what forks need of this database, which has the given id. The caller must
// have read the manifest that it works with before.
func (b *Bucket) Held(ctx context.Context, databaseID string, now time.Time) (Held, error) {
	pins, err := b.pins(ctx)
	for err == nil && len(pins) > 0 {
		var h Held
		for _, p := range pins {
			if err := h.add(ctx, b, p, databaseID, now); err != nil {
				return h, err
			}
		}
		// A fork of a fork may have read a manifest that was replaced before it was read
		// here. Then it has stored its pin by now.
		again, err := b.pins(ctx)
		if err != nil || slices.Equal(again, pins) {
			return h, err
		}
		pins = again
	}
	return Held{}, err
}

// add adds what the fork of pin p needs.
func (h *Held) add(ctx context.Context, b *Bucket, p pin, databaseID string, now time.Time) error {
	fork := b.Sibling(p.fork)
	m, err := fork.Manifest(ctx)
	var v *vacancy
	switch {
	case errors.As(err, &v) && v.Reserved && v.DatabaseID == p.databaseID:
		if v.stale(now) {
			h.stale = append(h.stale, v)
		}
		return h.unclear(p, errors.New("it is being created"))
	case errors.As(err, &v): // its reservation is gone, so it can no longer be created
		h.dead = append(h.dead, p.key)
		return nil
	case errors.Is(err, ErrNoBackup):
		err = fork.Headless(ctx, func(Batch, int64) bool { return false })
		if err == nil { // somebody deleted all of it
			h.dead = append(h.dead, p.key)
			return nil
		}
		return h.unclear(p, err)
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		return h.unclear(p, err)
	}
	i := slices.IndexFunc(m.Origins, func(o Origin) bool { return o.home() == home{b.name, databaseID} })
	if m.DatabaseID != p.databaseID || i < 0 || m.spent(m.Origins[i]) {
		h.dead = append(h.dead, p.key)
		return nil
	}
	h.Forks = append(h.Forks, p.fork)
	h.needs = append(h.needs, need{m.Manifest, m.Origins[i]})
	return nil
}

func (h *Held) unclear(p pin, why error) error {
	h.Forks = append(h.Forks, p.fork)
	h.Unclear = errors.Join(h.Unclear, fmt.Errorf("what the fork %s needs is not known, so everything is kept: %w", p.fork, why))
	return nil
}

// GiveUp gives up the forks that Held found half created and more than the grace time old.
// The next collection finds that nothing needs their pins. A fork that is created after all
// at the same moment wins, or fails.
func (b *Bucket) GiveUp(ctx context.Context, h Held) error {
	for _, v := range h.stale {
		fork := b.Sibling(v.Name)
		left, err := fork.vacate(ctx, v.etag, *v)
		if err == nil {
			_, err = fork.finish(ctx, left)
		}
		if err != nil && !errors.Is(err, ErrLost) {
			return fmt.Errorf("give up the fork %s, which was never created: %w", v.Name, err)
		}
	}
	return nil
}

// stale reports whether a reservation is so old that nobody is still creating the fork.
func (v *vacancy) stale(now time.Time) bool {
	return !v.stored.IsZero() && v.stored.Before(now.Add(-Grace))
}

// HeldFor is what forks need of the database that m describes and the database does not
// need itself.
type HeldFor struct {
	Forks   []string // that still use any of its objects
	Objects int
	Bytes   int64 // their total size
}

// HeldFor finds out what is kept for forks only. It lists the objects if there is a fork.
func (b *Bucket) HeldFor(ctx context.Context, m *Manifest) (out HeldFor, err error) {
	held, err := b.Held(ctx, m.DatabaseID, time.Time{}) // no reservation is stale
	if err != nil || len(held.Forks) == 0 {
		return out, err
	}
	out.Forks = held.Forks
	own := mainLine(m)
	for o, err := range b.objects(ctx) {
		if err != nil {
			return out, err
		}
		_, counts := own.spanOf(o.batch)
		named := slices.ContainsFunc(m.Snapshots, func(s Snapshot) bool { return s.Key == o.Key })
		pruned := o.kind == batchObject && !counts || o.kind == snapshotObject && !named
		if held.Unclear == nil && pruned && held.has(o) {
			out.Objects, out.Bytes = out.Objects+1, out.Bytes+o.Size
		}
	}
	return out, nil
}

// has reports whether a fork needs o.
func (h Held) has(o object) bool {
	if h.Unclear != nil {
		return true
	}
	return slices.ContainsFunc(h.needs, func(n need) bool {
		switch o.kind {
		case batchObject:
			return n.m.needs(n.origin, o.batch)
		case snapshotObject:
			named := slices.ContainsFunc(n.m.Snapshots, func(s Snapshot) bool { return s.Key == o.Key })
			return named || slices.Contains(n.origin.Snapshots, o.Key)
		}
		return false
	})
}
