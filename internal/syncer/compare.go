package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// File describes a database file for the comparison with its bucket.
type File struct {
	Identity changelog.Identity // the zero value: DriftDB has never seen the file
	Books    changelog.Books
	Last     int64 // the end of its log
	Log      *changelog.Log

	// Since is when the session last stored the manifest; zero if it has not.
	Since time.Time

	// Prove is nil if only DriftDB has written to the file. Otherwise it tries to prove
	// that, and fails with foreign.ErrUnproven if it cannot.
	Prove func(context.Context) error
}

// Look reads the File of c's database. unchanged means that only DriftDB has written to
// it. c must not be used for anything else before the last comparison.
func Look(c *sqlite.Conn, unchanged bool) (f File, err error) {
	if known, err := changelog.Exists(c); err != nil || !known {
		return f, err
	}
	if err := changelog.CheckFormat(c); err != nil {
		return f, err
	}
	f.Log = changelog.View(c)
	if f.Identity, err = changelog.ReadIdentity(c); err != nil {
		return f, err
	}
	if f.Books, err = f.Log.Books(); err != nil {
		return f, err
	}
	if f.Last, err = f.Log.Last(); err != nil {
		return f, err
	}
	if !unchanged {
		f.Prove = func(ctx context.Context) error { return foreign.Prove(ctx, c) }
	}
	return f, nil
}

// Comparison is the relation of a file to its bucket. Making one writes nothing.
type Comparison struct {
	stored   remote.Stored // the manifest that was compared
	relation relation
	at       remote.Position // up to here both have the same; the file's books may not say so yet
	proven   bool
	made     time.Time
	refused  []remote.Refusal // objects past what the manifest confirms
}

type relation int

const (
	vacant relation = iota // the bucket has nothing under the name
	ahead                  // the file has all of the bucket's history, and maybe more
	behind                 // the bucket has all of the file's history, and more
)

// Behind reports whether the bucket is ahead of a file that has no changes of its own:
// Check brings such a file up to date.
func (c Comparison) Behind() bool { return c.relation == behind }

// Vacant reports whether the bucket has nothing under the name.
func (c Comparison) Vacant() bool { return c.relation == vacant }

// Proven reports whether, for a file that is behind, it was proven that only DriftDB has
// written to it. Its log then needs no barrier.
func (c Comparison) Proven() bool { return c.proven }

// advice tells the user what to do when file and bucket do not belong together.
const advice = "Nothing was overwritten. To continue the bucket's history, move the file away and open with AutoRestore; to start a new one from this file, Detach it and open it under another name"

// together goes before advice when file and bucket are the same database.
const together = "To merge both, close the file and run driftdb resolve, or call Resolve. "

// errOther means that neither the file's nor the bucket's history contains the other.
var errOther = errors.New("the bucket's history is not this file's")

// Compare determines how a file relates to its bucket. ErrDiverged means that neither
// history contains the other. restore.ErrCannotCatchUp means that the bucket is ahead of
// a file that has no changes of its own, and that only a restore can bring it up to date.
// With exclusive, ErrHeld means that the bucket has another writer.
func Compare(ctx context.Context, bucket *remote.Bucket, f File, exclusive bool) (Comparison, error) {
	return compare(ctx, bucket, f, exclusive, new(remote.Trail))
}

// compare is Compare for a file that may have been brought forward along trail.
func compare(ctx context.Context, bucket *remote.Bucket, f File, exclusive bool, trail *remote.Trail) (c Comparison, err error) {
	c.made = time.Now()
	c.stored, err = bucket.Manifest(ctx)
	if errors.Is(err, remote.ErrDeleted) { // a new backup may begin, once what its last writer stored is gone
		if _, err := bucket.Sweep(ctx); err != nil {
			return c, err
		}
	}
	if errors.Is(err, remote.ErrNoBackup) && !errors.Is(err, remote.ErrNameTaken) {
		// If nothing is left, the file may start a new backup. Objects that are left may
		// hold more than this file, or another history; a repair determines which.
		return Comparison{made: c.made}, bucket.Headless(ctx, f.adrift)
	}
	if err != nil {
		return c, err
	}
	switch m := c.stored.Manifest; {
	case f.Identity == (changelog.Identity{}):
		return c, fmt.Errorf("%w: the bucket holds a database under the name %q (id %s), but this file is not a copy of it. %s", ErrDiverged, m.Name, m.DatabaseID, advice)
	case m.DatabaseID != f.Identity.DatabaseID:
		return c, fmt.Errorf("%w: the bucket holds another database under the name %q (id %s, this file is %s). %s", ErrDiverged, m.Name, m.DatabaseID, f.Identity.DatabaseID, advice)
	case exclusive:
		if err := held(m, f.Identity.NodeID); err != nil {
			return c, err
		}
	}
	err = c.relate(ctx, bucket, f, trail)
	if errors.Is(err, errOther) {
		err = fmt.Errorf("%w: %w. %s", ErrDiverged, err, together+advice)
	}
	return c, err
}

// adrift reports whether an object in a bucket without a manifest is useless, because
// this file's node stored it after the bucket had been emptied. That is a batch after
// what was confirmed to the file, whose entries the file still has, or a snapshot that
// this session has stored since its last swap. All other objects were there before.
func (f File) adrift(o remote.Batch, taken int64) bool {
	switch {
	case o.NodeID != f.Identity.NodeID || f.Books.Confirmed == 0:
		return false
	case o.From == 0: // a snapshot
		return !f.Since.IsZero() && taken > f.Since.UnixMilli()
	}
	return o.From > f.Books.Confirmed && o.To <= f.Last
}

// Held returns an ErrHeld if the bucket has a writer on another node. An empty node
// stands for a new one.
func Held(ctx context.Context, bucket *remote.Bucket, node string) error {
	stored, err := bucket.Manifest(ctx)
	if errors.Is(err, remote.ErrNoBackup) {
		return nil
	}
	if err != nil {
		return err
	}
	return held(stored.Manifest, node)
}

func held(m *remote.Manifest, node string) error {
	if m.NodeID == node || m.Released {
		return nil
	}
	this := "node " + node
	if node == "" {
		this = "a new node"
	}
	return fmt.Errorf("%w: node %s, epoch %d, last seen at %s; this one is %s. To take the database over, open it without RefuseTakeover",
		ErrHeld, m.NodeID, m.Epoch, time.UnixMilli(m.UpdatedAt).UTC().Format(time.RFC3339), this)
}

// relate compares the two histories.
func (c *Comparison) relate(ctx context.Context, bucket *remote.Bucket, f File, trail *remote.Trail) error {
	m := c.stored.Manifest
	if m.Released && c.stored.ETag() == f.Books.Manifest && f.acked() == m.Head() {
		c.relation, c.at = ahead, m.Head() // nothing was stored since this file's last session
		return nil
	}
	if at := f.acked(); at.Sequence == f.Last && trail.Leads(m, at) {
		more := m.LatestSequence > at.Sequence
		if !more && m.Fenced { // its writer may have stored, and vouched for, more since the trail was walked
			var err error
			if more, err = bucket.Continues(ctx, m, at); err != nil {
				return err
			}
		}
		if c.relation, c.at = ahead, at; more {
			c.relation = behind
		}
		return nil
	}
	if m.LatestSequence > f.Last {
		return c.lags(ctx, bucket, f)
	}
	tips, err := bucket.Tips(ctx, m)
	if err != nil {
		return err
	}
	far, near := tips.Far, tips.Near
	c.refused = tips.Refused
	if near.Sequence > f.Last {
		return c.lags(ctx, bucket, f)
	}
	// Changes between near and far, if any, wait for a snapshot that may never come. To
	// continue after them would confirm changes that cannot be restored. If the file has
	// them, it sends them again.
	c.relation, c.at = ahead, near
	switch {
	case far.Sequence < f.Books.Acked && len(tips.Refused) > 0:
		// The missing changes may be there, but altered in the bucket or in transit: that does
		// not make another history.
		return fmt.Errorf("this file uploaded changes up to %d, of which the bucket's history has only those up to %d: %w", f.Books.Acked, far.Sequence, tips.Refused[0].Err())
	case far.Sequence < f.Books.Acked:
		return fmt.Errorf("%w: this file uploaded changes up to %d, of which the bucket's history has only those up to %d; another writer has taken over, or the bucket is an older copy", errOther, f.Books.Acked, far.Sequence)
	case near.Sequence >= f.Books.Acked:
	case far.Sequence <= f.Last:
		err = f.contains(far)
	default:
		_, err = f.continued(ctx, bucket, m)
	}
	if err != nil {
		return err
	}
	return f.contains(near)
}

// lags compares a file whose log ends before the bucket's history does.
func (c *Comparison) lags(ctx context.Context, bucket *remote.Bucket, f File) error {
	end, err := f.continued(ctx, bucket, c.stored.Manifest)
	c.relation, c.at = behind, end
	tooOld := errors.Is(err, remote.ErrTooOld)
	switch {
	case tooOld && f.Books.Confirmed == f.Last: // a manifest confirmed all of it, so the history has it
		err = fmt.Errorf("%w: %w", restore.ErrCannotCatchUp, err)
	case tooOld:
		return fmt.Errorf("%w: the file has changes after %d, and it is no longer known whether the bucket's history has them: %w", errOther, f.Books.Confirmed, err)
	case err != nil:
		return err
	}
	if f.Prove == nil {
		return err
	}
	unproven := f.Prove(ctx)
	c.proven = unproven == nil
	if errors.Is(unproven, foreign.ErrUnproven) {
		return fmt.Errorf("%w: the bucket has changes up to %d or more, the file up to %d, and the file may have others that its log lacks: %w", errOther, c.stored.LatestSequence, f.Last, unproven)
	}
	if unproven != nil {
		return unproven
	}
	return err
}

// acked returns the position that the bucket has reached, as far as the file knows.
func (f File) acked() remote.Position {
	return remote.Position{Sequence: f.Books.Acked, Chain: f.Books.Chain}
}

// continued returns the end of the file's log. Its error is errOther if the history that
// m describes does not continue from there.
func (f File) continued(ctx context.Context, bucket *remote.Bucket, m *remote.Manifest) (end remote.Position, err error) {
	end.Sequence = f.Last
	if end.Chain, err = f.Log.ChainAt(f.Books.Acked, f.Books.Chain, f.Last); err != nil {
		return end, err
	}
	ok, err := bucket.Continues(ctx, m, end)
	if err == nil && !ok {
		err = fmt.Errorf("%w: the changes up to %d differ, and the bucket has more than the file", errOther, end.Sequence)
	}
	return end, err
}

// contains returns errOther if the file's history does not contain the bucket's up to
// tip.
func (f File) contains(tip remote.Position) error {
	from, to := f.acked(), tip
	if to.Sequence < from.Sequence {
		from, to = to, from
	}
	chain, err := f.Log.ChainAt(from.Sequence, from.Chain, to.Sequence)
	if err != nil {
		return fmt.Errorf("%w: it ends at %d, where no transaction ends here (%v)", errOther, tip.Sequence, err)
	}
	if chain != to.Chain {
		return fmt.Errorf("%w: the changes up to %d differ", errOther, tip.Sequence)
	}
	return nil
}
