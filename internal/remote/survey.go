package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/segment"
	"github.com/driftdb/driftdb-go/objstore"
)

// Survey is what the nodes' folders of a bucket hold, each object proven by itself.
// What it is to the others, only a manifest says, or who works that out.
type Survey struct {
	Pieces    []Piece
	Snapshots []Snapshot     // with no more than a key, a time and a size
	Branches  []Batch        // whose manifests are whole
	Unusable  []Refusal      // named like one of the above
	Strange   []string       // keys that no DriftDB makes
	Last      int64          // the highest epoch that a session can have and an object has
	Parts     map[Batch]bool // of the pieces, those that a wider one of their session holds
}

// Piece is a batch and the chain at its ends, and wherever in it another batch begins or
// ends, if that is the end of a transaction.
type Piece struct {
	Batch
	Marks []Position
}

// Survey reads all that the nodes have stored of database databaseID. It also notes the
// chain at the sequences also.
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
		if o.batch.Epoch < maxEpoch/2 { // no session comes to more
			s.Last = max(s.Last, o.batch.Epoch)
		}
		switch o.kind {
		case batchObject:
			batches = append(batches, o.batch)
			marks[o.batch.From-1], marks[o.batch.To] = true, true
		case snapshotObject:
			s.Snapshots = append(s.Snapshots, o.snapshot())
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
	return s, b.readPieces(ctx, databaseID, batches, marks, &s)
}

// refused notes that an object is of no use, unless err does not say so: the store
// failed, or a key is missing.
func (s *Survey) refused(key string, err error) bool {
	if !IsDamage(err) && !errors.Is(err, errOther) || errors.Is(err, errUnread) && !errors.Is(err, ErrCorrupt) {
		return false
	}
	s.Unusable = append(s.Unusable, Refusal{key, err})
	return true
}

func (b *Bucket) readPieces(ctx context.Context, databaseID string, batches []Batch, marks map[int64]bool, s *Survey) error {
	ahead := newFetcher(ctx, b, databaseID)
	defer ahead.close()
	for i, o := range batches {
		ahead.want(batches[i:min(i+leastAhead, len(batches))]...)
		data, err := ahead.get(o)
		ahead.forget(o)
		var p Piece
		if err == nil {
			p, err = b.piece(ctx, databaseID, o, data, marks)
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
	s.Parts = map[Batch]bool{}
	sessions := map[string][]Batch{}
	for _, p := range s.Pieces {
		sessions[p.branch()] = append(sessions[p.branch()], p.Batch)
	}
	for _, p := range s.Pieces {
		s.Parts[p.Batch] = Covered(sessions[p.branch()], p.Batch)
	}
	return nil
}

// piece reads a batch to its end, and notes the chain at the marks.
func (b *Bucket) piece(ctx context.Context, databaseID string, o Batch, data []byte, marks map[int64]bool) (Piece, error) {
	p := Piece{Batch: o}
	fail := func(err error) (Piece, error) {
		return p, fmt.Errorf("%w: %s: %w", errOther, BatchKey(b.name, o), err)
	}
	r, err := b.openBatch(databaseID, o, bytes.NewReader(data))
	if err != nil {
		return p, fmt.Errorf("%w: %w", errOther, err)
	}
	p.Marks = append(p.Marks, Position{o.From - 1, r.Header().Prev})
	if o.From == 1 && r.Header().Prev != segment.Genesis(databaseID) {
		return fail(fmt.Errorf("%w: it begins another database", ErrCorrupt))
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

// snapshot is what the listing says of a snapshot.
func (o object) snapshot() Snapshot {
	s := Snapshot{Key: o.Key, Size: o.Size}
	_, file, _ := strings.Cut(o.Key, "/snapshots/")
	s.Time, _ = strconv.ParseInt(strings.TrimSuffix(file, ".sqlite"), 10, 64) // whoever named it otherwise told no time
	if !o.ModTime.IsZero() {
		s.Stored = o.ModTime.UnixMilli()
	}
	return s
}

// Session is the id that the branch of the batch's session would have.
func (b Batch) Session() string { return b.branch() }

// Unnamed writes to dst the database file of a snapshot that no manifest names, and
// completes s with its hash and size.
func (b *Bucket) Unnamed(ctx context.Context, databaseID string, s *Snapshot, dst io.Writer) error {
	body, _, err := b.store.Get(ctx, s.Key, objstore.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: snapshot %s has vanished", ErrCorrupt, s.Key)
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

// Lost is what is in a manifest's place that cannot be used.
type Lost struct {
	Stored        // to be replaced by Swap; the zero value: nothing is there
	Why    error  // nil: nothing is there
	Told   string // what it said, as far as anybody can read that
	ID     string // of the database, as it said
	Last   int64  // its epoch
}

// ErrWhole says that the manifest is there, and needs no repair.
var ErrWhole = errors.New("the manifest is whole: there is nothing to repair")

// Lost looks at what is in the manifest's place. ErrWhole means that it is a manifest.
func (b *Bucket) Lost(ctx context.Context) (Lost, error) {
	_, err := b.Manifest(ctx)
	for tries := 2; tries > 0 && IsDamage(err); tries-- {
		_, err = b.Manifest(ctx) // it may have been altered on its way here
	}
	switch {
	case err == nil:
		return Lost{}, ErrWhole
	case errors.Is(err, ErrNoBackup):
		return Lost{}, nil
	case !IsDamage(err):
		return Lost{}, err
	}
	l := Lost{Why: err}
	body, info, err := b.store.Get(ctx, manifestKey(b.name), objstore.GetOptions{})
	if err != nil {
		return l, err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxManifest))
	if err != nil {
		return l, err
	}
	l.Stored = Stored{Manifest: new(Manifest), etag: info.ETag, raw: raw}
	var m struct {
		DatabaseID string `json:"databaseId"`
		NodeID     string `json:"nodeId"`
		Epoch      int64  `json:"epoch"`
		Latest     int64  `json:"latestLogSequence"`
	}
	l.Told = fmt.Sprintf("%d bytes", len(raw))
	if json.Unmarshal(raw, &m) == nil && m.DatabaseID != "" {
		l.Told += fmt.Sprintf(": database %s, node %s, epoch %d, changes up to %d", m.DatabaseID, m.NodeID, m.Epoch, m.Latest)
		if l.ID = m.DatabaseID; m.Epoch < maxEpoch/2 {
			l.Last = m.Epoch
		}
	}
	return l, nil
}

// Doubt is what the bucket says to an id that its database may have.
type Doubt int

// In the order of how much they are worth.
const (
	Refuted Doubt = iota // no object is of such a database
	Untold               // nothing says so, nor the contrary
	Vouched              // objects are of this database
)

// Vouch says whether the bucket's objects are those of database databaseID. With keys
// every object tells that, without only the first batch does.
func (b *Bucket) Vouch(ctx context.Context, databaseID string) (Doubt, error) {
	objects, err := b.nodes(ctx)
	if err != nil {
		return Refuted, err
	}
	const most = 20 // objects that contradict: some may be a stranger's, hardly the first ones all
	against := 0
	for _, o := range objects {
		if !o.sealed() || b.opts.Ring == nil && (o.kind != batchObject || o.batch.From != 1) {
			continue
		}
		switch doubt, err := b.doubt(ctx, databaseID, o); {
		case err != nil || doubt == Vouched:
			return doubt, err
		case doubt == Refuted:
			against++
		}
		if against == most {
			break
		}
	}
	if against > 0 {
		return Refuted, nil
	}
	return Untold, nil
}

// doubt is what one object says to databaseID.
func (b *Bucket) doubt(ctx context.Context, databaseID string, o object) (Doubt, error) {
	body, _, err := b.store.Get(ctx, o.Key, objstore.GetOptions{})
	if err != nil {
		return Refuted, err
	}
	defer body.Close()
	src := &source{Reader: body}
	if b.opts.Ring == nil {
		r, err := b.openBatch(databaseID, o.batch, src)
		switch {
		case err != nil: // junk, which says nothing
			return Untold, src.err
		case r.Header().Prev == segment.Genesis(databaseID):
			return Vouched, nil
		}
		return Refuted, nil
	}
	plain, err := seal.NewReader(src, b.opts.Ring, b.context(databaseID, o.Key))
	if err == nil {
		_, err = io.ReadFull(plain, make([]byte, 1))
	}
	switch {
	case src.err != nil:
		return Refuted, src.err
	case err == nil:
		return Vouched, nil
	case errors.Is(err, seal.ErrKey): // another key may open it
		return Untold, nil
	}
	return Refuted, nil
}

// DatabaseIDs are the ids that probes and branches' manifests name. Anybody may have
// written them.
func (b *Bucket) DatabaseIDs(ctx context.Context) (ids []string, err error) {
	objects, err := b.nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		id := ""
		switch {
		case o.kind == branchObject:
			if own, err := b.load(ctx, o.Key); err == nil {
				id = own.DatabaseID
			}
		case o.kind == probeObject:
			if id, err = b.probed(ctx, o.Key); err != nil {
				return nil, err
			}
		}
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
