package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

var (
	// ErrNoBackup says that the bucket has nothing under the name.
	ErrNoBackup = errors.New("no backup found")
	// ErrLost says that somebody else replaced the manifest, or stored an
	// object under a name that only this session may use.
	ErrLost = errors.New("another writer has changed the bucket")
	// ErrTaken says that a name which only this session may use is taken by an object
	// that no writer can have stored: it is not a batch of that name.
	ErrTaken = errors.New("another writer's object has the name of a batch")
	// ErrGone says that the manifest that this writer stored is not there any
	// more, nor another one. Nobody has taken over.
	ErrGone = errors.New("the manifest is gone: was the bucket emptied, or its disk unmounted? If everything is gone, the next attempt starts a new backup; if only the manifest is gone, put it back or run driftdb repair")
)

// IsDamage reports whether err means that an object is not what it must be, or is
// not there at all. A wrong key is no such thing.
func IsDamage(err error) bool {
	return !errors.Is(err, seal.ErrKey) &&
		(errors.Is(err, ErrCorrupt) || errors.Is(err, seal.ErrCorrupt) || errors.Is(err, seal.ErrPlaintext))
}

// Bucket is one database's part of a store.
type Bucket struct {
	store objstore.Store
	name  string
	opts  seal.Options

	missing func(context.Context) string // more about ErrNoBackup, or nil
}

// New returns the bucket of database name, a checked name.
func New(store objstore.Store, name string, opts seal.Options) *Bucket {
	return &Bucket{store: store, name: name, opts: opts}
}

// ExplainMissing makes Manifest add to ErrNoBackup what explain returns, which may
// use the network. It is for those whose answer the error is; a writer, for whom it is
// a beginning, does not ask.
func (b *Bucket) ExplainMissing(explain func(context.Context) string) { b.missing = explain }

// Name is the database's name.
func (b *Bucket) Name() string { return b.name }

// Databases lists the names that the store has.
func Databases(ctx context.Context, store objstore.Store) ([]string, error) {
	var names []string
	for info, err := range store.List(ctx, databases, objstore.ListOptions{Folders: true}) {
		if err != nil {
			return nil, err
		}
		if name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, databases), "/"); ok && CheckName("database", name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Stored is a manifest as the bucket has it.
type Stored struct {
	*Manifest
	etag  string
	raw   []byte
	tried [][]byte // what may have taken its place: swaps of it whose outcome is open

	// When it was stored, by the store's clock, zero if the store does not say; and
	// when the store said so, by this machine's. Put is whether that was at once.
	said, heard time.Time
	put         bool
}

// written is when the manifest was stored, by the store's clock if that says.
func (s Stored) written() time.Time {
	if s.said.IsZero() {
		return time.UnixMilli(s.UpdatedAt)
	}
	return s.said
}

// Now is the time by the store's clock, as far as it is known: the time at which
// the store has the manifest, and what has passed since it said so, however this
// machine's clock is set meanwhile. The manifest may have been old by then, so it is
// rather later than this. A store that tells no time has this machine's.
func (s Stored) Now() time.Time {
	if s.said.IsZero() {
		return time.Now()
	}
	return s.said.Add(time.Since(s.heard))
}

// ETag tells the manifest from any other that there ever was under its key.
func (s Stored) ETag() string { return s.etag }

// Clocks returns the time of the swap that stored the manifest by the store's clock
// and by this machine's, if the store has told.
func (s Stored) Clocks() (store, machine time.Time, known bool) {
	return s.said, s.heard.Round(0), s.put && !s.said.IsZero()
}

// ours reports whether raw is s, or what was to take its place.
func (s Stored) ours(raw []byte) bool {
	return bytes.Equal(raw, s.raw) || slices.ContainsFunc(s.tried, func(t []byte) bool { return bytes.Equal(raw, t) })
}

// Manifest reads the manifest. ErrNoBackup means that there is none.
func (b *Bucket) Manifest(ctx context.Context) (Stored, error) {
	stored, err := b.load(ctx, manifestKey(b.name))
	for tries := 3; tries > 0 && errors.Is(err, retry.ErrChanged); tries-- {
		stored, err = b.load(ctx, manifestKey(b.name)) // its writer was faster: all of the new one, then
	}
	if errors.Is(err, fs.ErrNotExist) {
		err := fmt.Errorf("%w for database %q", ErrNoBackup, b.name)
		if b.missing != nil {
			if more := b.missing(ctx); more != "" {
				err = fmt.Errorf("%w: %s", err, more)
			}
		}
		return Stored{}, err
	}
	if err == nil && stored.Branch != "" {
		return Stored{}, fmt.Errorf("%w: manifest of %s: it belongs to branch %s", ErrCorrupt, b.name, stored.Branch)
	}
	return stored, err
}

// load reads the manifest that key holds.
func (b *Bucket) load(ctx context.Context, key string) (Stored, error) {
	body, info, err := b.store.Get(ctx, key, objstore.GetOptions{})
	if err != nil {
		return Stored{}, err
	}
	defer body.Close()
	var raw bytes.Buffer
	m, err := b.decode(key, io.TeeReader(io.LimitReader(body, maxManifest), &raw))
	if err != nil {
		return Stored{}, err
	}
	return Stored{Manifest: m, etag: info.ETag, raw: raw.Bytes(), said: info.ModTime.Round(0), heard: time.Now()}, nil
}

// Swap replaces the manifest that prev is with m, or creates the first one
// when prev is zero. Every swap writes something new, so finding in the bucket
// what it tried to write means that it succeeded, whatever the answer was.
// ErrLost means that somebody else was faster. After any other error, ErrGone
// among them, it is open whether m is stored, or will be when a request arrives at
// last: go on with what was returned with the error, in the place of prev, and
// Settle it first.
func (b *Bucket) Swap(ctx context.Context, prev Stored, m *Manifest) (Stored, error) {
	m = m.Clone()
	m.Nonce = rand.Text()
	if err := m.check(b.name); err != nil {
		return prev, fmt.Errorf("check the new manifest of %s: %w", b.name, err)
	}
	raw, err := b.encode(m, manifestKey(b.name))
	if err != nil {
		return prev, err
	}
	// One of the two conditions, always: without a manifest to replace it creates the
	// first one, and an ETag that nobody has told is refused by the store.
	opts := objstore.PutOptions{IfMatch: objstore.Matching(prev.etag)}
	if prev.Manifest == nil {
		opts = objstore.PutOptions{IfAbsent: true}
	}
	// Whatever the store makes of it: nobody's manifest is replaced unseen.
	if err := opts.Validate(); err != nil {
		return prev, fmt.Errorf("replace the manifest of %s: %w", b.name, err)
	}
	info, err := b.store.Put(ctx, manifestKey(b.name), bytes.NewReader(raw), opts)
	if err == nil {
		return Stored{Manifest: m, etag: info.ETag, raw: raw, said: info.ModTime.Round(0), heard: time.Now(), put: true}, nil
	}
	// The answer may have been lost on its way, also that to an earlier
	// attempt of a retrying store.
	prev.tried = append(slices.Clip(prev.tried), raw)
	now, rerr := b.Manifest(ctx)
	switch {
	case rerr == nil && bytes.Equal(now.raw, raw):
		return now, nil
	case errors.Is(rerr, ErrNoBackup) && prev.Manifest != nil: // stores answer this in more than one way
		return prev, b.gone()
	case rerr == nil && errors.Is(err, objstore.ErrPrecondition) && !prev.ours(now.raw):
		return prev, b.lost()
	case rerr != nil && !errors.Is(rerr, ErrNoBackup):
		err = fmt.Errorf("%w; and the stored manifest cannot be read: %w", err, rerr)
	}
	return prev, err
}

// Settle finds out what has become of swaps of s whose outcome is open, and
// returns what the bucket has now: s, or what was to take its place. It makes
// no request when there are none. ErrLost means that it is neither, and ErrGone
// that there is nothing.
func (b *Bucket) Settle(ctx context.Context, s Stored) (Stored, error) {
	if len(s.tried) == 0 {
		return s, nil
	}
	now, err := b.Manifest(ctx)
	switch {
	case errors.Is(err, ErrNoBackup) && s.Manifest != nil:
		return s, b.gone()
	case err != nil:
		return s, err
	case !s.ours(now.raw):
		return s, b.lost()
	case bytes.Equal(now.raw, s.raw):
		return s, nil // and the others may still arrive
	}
	return now, nil
}

func (b *Bucket) lost() error {
	return fmt.Errorf("%w: %s is not the manifest that this writer stored", ErrLost, manifestKey(b.name))
}

func (b *Bucket) gone() error { return fmt.Errorf("%w (%s)", ErrGone, manifestKey(b.name)) }

// context is what the object key is sealed with.
func (b *Bucket) context(databaseID, key string) seal.Context {
	return seal.Context{DatabaseID: databaseID, Name: key}
}

// SealBatch returns a writer whose contents, once it is closed, are in dst as the
// object that is to have this key.
func (b *Bucket) SealBatch(dst io.Writer, databaseID, key string) (io.WriteCloser, error) {
	return seal.NewWriter(dst, b.opts, b.context(databaseID, key))
}

// CompressBatch returns a writer for a batch whose name is not known yet: what is in
// dst once it is closed is for EncryptBatch.
func (b *Bucket) CompressBatch(dst io.Writer) (io.WriteCloser, error) {
	return seal.Compress(dst, b.opts.Compression)
}

// EncryptBatch returns the object that is to have this key.
func (b *Bucket) EncryptBatch(compressed []byte, databaseID, key string) ([]byte, error) {
	return seal.Encrypt(compressed, b.opts.Ring, b.context(databaseID, key))
}

// Batches lists the batches of span, in the order of their names.
func (b *Bucket) Batches(ctx context.Context, s Span) (out []Batch, err error) {
	for o, err := range b.batches(ctx, s.NodeID, s.From) {
		if err != nil {
			return nil, err
		}
		if o.Epoch == s.Epoch {
			out = append(out, o)
		}
	}
	return out, nil
}

// LastEpoch is the largest epoch of which node has batches, or 0. They outlive a manifest
// that was lost. One that no session can come to is a stranger's.
func (b *Bucket) LastEpoch(ctx context.Context, node string) (last int64, err error) {
	for o, err := range b.batches(ctx, node, 0) {
		if err != nil {
			return 0, err
		}
		if o.Epoch < maxEpoch/2 {
			last = max(last, o.Epoch)
		}
	}
	return last, nil
}

// batches lists those of all of node's sessions that begin at from or later.
func (b *Bucket) batches(ctx context.Context, node string, from int64) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		folder := logFolder(b.name, node)
		after := fmt.Sprintf("%s%012d", folder, from)
		for info, err := range b.store.List(ctx, folder, objstore.ListOptions{StartAfter: after}) {
			if err != nil {
				yield(Batch{}, err)
				return
			}
			o, ok := parseBatch(node, strings.TrimPrefix(info.Key, folder))
			o.Size = info.Size
			if ok && !yield(o, nil) {
				return
			}
		}
	}
}

// count counts the bytes that are written to it.
type count int64

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}

// PutSnapshot stores a database file under key and completes s with its sizes,
// its hash and when that was. A key that is taken is objstore.ErrPrecondition.
func (b *Bucket) PutSnapshot(ctx context.Context, databaseID, key string, file io.Reader, s *Snapshot) error {
	h, plain := sha256.New(), count(0)
	sealed := seal.Seal(io.TeeReader(file, io.MultiWriter(h, &plain)), b.opts, b.context(databaseID, key))
	info, err := b.store.Put(ctx, key, sealed, objstore.PutOptions{IfAbsent: true})
	if cerr := sealed.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	s.Key, s.Size, s.Plain, s.SHA256 = key, info.Size, int64(plain), hex.EncodeToString(h.Sum(nil))
	if !info.ModTime.IsZero() {
		s.Stored = info.ModTime.UnixMilli()
	}
	return nil
}

// OpenSnapshot opens a snapshot's database file. Its reader fails at the end
// when the contents are not what the manifest says.
func (b *Bucket) OpenSnapshot(ctx context.Context, databaseID string, s Snapshot) (io.ReadCloser, error) {
	body, _, err := b.store.Get(ctx, s.Key, objstore.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: snapshot %s is missing", ErrCorrupt, s.Key)
	}
	if err != nil {
		return nil, err
	}
	plain, err := seal.NewReader(body, b.opts.Ring, b.context(databaseID, s.Key))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.Key, err), body.Close())
	}
	return &snapshotReader{Reader: plain, body: body, want: s, sum: sha256.New()}, nil
}

type snapshotReader struct {
	io.Reader
	body io.Closer
	want Snapshot
	sum  hash.Hash
	n    int64
}

func (r *snapshotReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.sum.Write(p[:n])
	if r.n += int64(n); r.n > r.want.Plain && r.want.Plain > 0 {
		return 0, fmt.Errorf("%w: snapshot %s has more than the %d bytes given in the manifest", ErrCorrupt, r.want.Key, r.want.Plain)
	}
	if err == io.EOF && hex.EncodeToString(r.sum.Sum(nil)) != r.want.SHA256 {
		err = fmt.Errorf("%w: snapshot %s is not the one named in the manifest", ErrCorrupt, r.want.Key)
	}
	return n, err
}

func (r *snapshotReader) Close() error { return r.body.Close() }

// Usage counts the database's objects and their bytes.
func (b *Bucket) Usage(ctx context.Context) (objects int, bytes int64, err error) {
	for info, err := range b.store.List(ctx, databases+b.name+"/", objstore.ListOptions{}) {
		if err != nil {
			return objects, bytes, err
		}
		objects++
		bytes += info.Size
	}
	return objects, bytes, nil
}
