package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

// Survey is what the nodes' folders of a bucket hold, each object verified on its own.
// How the objects relate to each other takes a manifest, or a repair that works it out.
type Survey struct {
	Pieces    []Piece
	Snapshots []Taken
	Branches  []Batch   // branches whose manifests are intact
	Unusable  []Refusal // objects named like one of the above
	Strange   []string  // keys that DriftDB does not create
	Last      int64     // the highest epoch of any object that a session can have
}

// Taken is a snapshot, only with the key, times and size from the listing, and the node
// that took it.
type Taken struct {
	Snapshot
	NodeID string
}

// Piece is a batch with the chain at both ends, and at every end of a transaction in it
// at which another batch begins or ends.
type Piece struct {
	Batch
	Marks []Position
}

// Survey reads everything that nodes have stored of database databaseID. It also records
// the chain at the sequences in also.
func (b *Bucket) Survey(ctx context.Context, databaseID string, also ...int64) (Survey, error) {
	var s Survey
	objects, err := b.nodes(ctx)
	if err != nil {
		return s, err
	}
	var batches []Batch
	marks := map[int64]bool{}
	for _, sequence := range also {
		marks[sequence] = true
	}
	for _, o := range objects {
		if o.batch.Epoch < maxEpoch/2 { // no session reaches a higher epoch
			s.Last = max(s.Last, o.batch.Epoch)
		}
		switch o.kind {
		case batchObject:
			batches = append(batches, o.batch)
			marks[o.batch.From-1], marks[o.batch.To] = true, true
		case snapshotObject:
			s.Snapshots = append(s.Snapshots, Taken{o.snapshot(), o.batch.NodeID})
		case branchObject:
			if _, err := b.branchManifest(ctx, databaseID, o.batch.branch(), o.Key); err == nil {
				s.Branches = append(s.Branches, o.batch)
			} else if !s.refused(o.Key, err) {
				return s, err
			}
		case otherObject:
			s.Strange = append(s.Strange, o.Key)
		}
	}
	err = b.readPieces(ctx, databaseID, batches, marks, &s)
	return s, err
}

// refused records an object as unusable. It returns false if the error is the store's
// instead.
func (s *Survey) refused(key string, err error) bool {
	r := Refusal{key, err}
	if !IsDamage(err) && !errors.Is(err, errOther) && !r.Locked() {
		return false
	}
	s.Unusable = append(s.Unusable, r)
	return true
}

func (b *Bucket) readPieces(ctx context.Context, databaseID string, batches []Batch, marks map[int64]bool, s *Survey) error {
	ahead := newFetcher(ctx, b, databaseID)
	defer ahead.close()
	for i, o := range batches {
		ahead.want(batches[i:min(i+leastAhead, len(batches))]...)
		p, err := b.piece(ctx, databaseID, o, ahead, marks)
		for again := 2; again > 0 && errors.Is(err, errOther); again-- {
			p, err = b.piece(ctx, databaseID, o, ahead, marks) // it may have been corrupted in transit
		}
		switch {
		case err == nil:
			s.Pieces = append(s.Pieces, p)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !s.refused(BatchKey(b.name, o), err):
			return err
		}
	}
	return nil
}

// piece reads a batch to its end and records the chain at the marks.
func (b *Bucket) piece(ctx context.Context, databaseID string, o Batch, ahead *fetcher, marks map[int64]bool) (Piece, error) {
	p := Piece{Batch: o}
	data, err := ahead.get(o)
	ahead.forget(o)
	if err != nil {
		return p, err
	}
	fail := func(err error) (Piece, error) {
		return p, fmt.Errorf("%w: %s: %w", errOther, BatchKey(b.name, o), err)
	}
	r, err := b.openBatch(databaseID, o, bytes.NewReader(data))
	if err != nil {
		return p, fmt.Errorf("%w: %w", errOther, err)
	}
	p.Marks = append(p.Marks, Position{o.From - 1, r.Header().Prev})
	if o.From == 1 && r.Header().Prev != batch.Genesis(databaseID) {
		return fail(fmt.Errorf("%w: it belongs to another database", ErrCorrupt))
	}
	for {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fail(err)
		}
		if rec.Last && marks[rec.End()] {
			p.Marks = append(p.Marks, Position{rec.End(), r.Chain()})
		}
	}
	if r.Trailer().To != o.To {
		return fail(fmt.Errorf("%w: it ends at sequence %d", ErrCorrupt, r.Trailer().To))
	}
	return p, nil
}

// snapshot returns what the listing says of a snapshot.
func (o object) snapshot() Snapshot {
	s := Snapshot{Key: o.Key, Size: o.Size}
	_, file, _ := strings.Cut(o.Key, "/snapshots/")
	s.Time, _ = strconv.ParseInt(strings.TrimSuffix(file, ".sqlite"), 10, 64) // any other name gives no time
	if !o.ModTime.IsZero() {
		s.Stored = o.ModTime.UnixMilli()
	}
	return s
}

// Session identifies the batch's session: the id that its branch would have.
func (b Batch) Session() string { return b.branch() }

// Unnamed writes the database file of a snapshot that no manifest names to dst, and fills
// in the file's hash and size in s.
func (b *Bucket) Unnamed(ctx context.Context, databaseID string, s *Snapshot, dst io.Writer) error {
	body, _, err := b.store.Get(ctx, s.Key, objstore.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: snapshot %s is missing", ErrCorrupt, s.Key)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	plain, err := seal.NewReader(body, b.opts.Ring, b.context(databaseID, s.Key))
	if err != nil {
		return fmt.Errorf("%s: %w", s.Key, err)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, h), plain)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Key, err)
	}
	s.Plain, s.SHA256 = n, hex.EncodeToString(h.Sum(nil))
	return nil
}
