package remote

import (
	"bufio"
	"bytes"
	"cmp"
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
	// ErrNoBackup means that the bucket has nothing under the name.
	ErrNoBackup = errors.New("no backup found")
	// ErrLost means that another process replaced the manifest, or stored an object
	// under a name that only this session may use.
	ErrLost = errors.New("another writer has changed the bucket")
	// ErrTaken means that a name reserved for this session is taken by an object that no
	// writer can have stored: it is not a batch of that name.
	ErrTaken = errors.New("another writer's object has the name of a batch")
	// ErrGone means that the manifest that this writer stored is gone and no other has
	// replaced it. No other writer has taken over.
	ErrGone = errors.New("the manifest is gone: was the bucket emptied, or its disk unmounted? If everything is gone, the next attempt starts a new backup; if only the manifest is gone, put it back or run driftdb repair")
)

// IsDamage reports whether err means that an object is damaged or missing. A wrong key is
// not damage.
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

// ExplainMissing makes Manifest add to ErrNoBackup what explain returns; explain may use
// the network. Readers, to whom ErrNoBackup is the final answer, set it. A writer, for
// which it means a new backup, does not.
func (b *Bucket) ExplainMissing(explain func(context.Context) string) { b.missing = explain }

// Name is the database's name.
func (b *Bucket) Name() string { return b.name }

// Databases lists the names of the databases in the store. Those of deleted ones are not
// among them.
func Databases(ctx context.Context, store objstore.Store) ([]string, error) {
	var names []string
	vacated := map[string]bool{}
	for info, err := range store.List(ctx, vacatedFolder, objstore.ListOptions{}) {
		if err != nil {
			return nil, err
		}
		vacated[strings.TrimPrefix(info.Key, vacatedFolder)] = true
	}
	for info, err := range store.List(ctx, databases, objstore.ListOptions{Folders: true}) {
		if err != nil {
			return nil, err
		}
		if name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, databases), "/"); ok && CheckName("database", name) == nil {
			if vacated[name] {
				_, err := New(store, name, seal.Options{}).Manifest(ctx)
				if errors.Is(err, ErrDeleted) {
					continue
				}
			}
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
	tried [][]byte // manifests of swaps with unknown outcome, which may have replaced it

	// said is when the manifest was stored, by the store's clock; zero if the store does
	// not say. heard is when the store said so, by this machine's clock. put is set if
	// this came with the answer to the Put itself.
	said, heard time.Time
	put         bool
}

// written is when the manifest was stored, by the store's clock if known.
func (s Stored) written() time.Time {
	if s.said.IsZero() {
		return time.UnixMilli(s.UpdatedAt)
	}
	return s.said
}

// Now is the current time by the store's clock, as far as it is known: the time at which
// the manifest was stored, plus the time elapsed since the store said so, no matter how
// this machine's clock is set meanwhile. The manifest may already have been old then, so
// the true time may be later. If the store gives no time, Now uses this machine's clock.
func (s Stored) Now() time.Time {
	if s.said.IsZero() {
		return time.Now()
	}
	return s.said.Add(time.Since(s.heard))
}

// ETag distinguishes the manifest from every other that was ever stored under its key.
func (s Stored) ETag() string { return s.etag }

// Unsettled reports whether a swap of s may have succeeded, or may still succeed when a
// delayed request arrives.
func (s Stored) Unsettled() bool { return len(s.tried) > 0 }

// Clocks returns the time of the swap that stored the manifest, by the store's clock and
// by this machine's. known is true only if the answer to that swap gave a time.
func (s Stored) Clocks() (store, machine time.Time, known bool) {
	return s.said, s.heard.Round(0), s.put && !s.said.IsZero()
}

// ours reports whether raw is s, or a manifest that a swap tried to put in its place.
func (s Stored) ours(raw []byte) bool {
	return bytes.Equal(raw, s.raw) || slices.ContainsFunc(s.tried, func(t []byte) bool { return bytes.Equal(raw, t) })
}

// Manifest reads the manifest. ErrNoBackup means that there is none.
func (b *Bucket) Manifest(ctx context.Context) (Stored, error) {
	stored, err := b.load(ctx, manifestKey(b.name))
	for tries := 3; tries > 0 && errors.Is(err, retry.ErrChanged); tries-- {
		stored, err = b.load(ctx, manifestKey(b.name)) // replaced while being read: read the new one
	}
	if v := new(vacancy); errors.As(err, &v) {
		return Stored{}, err
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

// load reads the manifest stored under key.
func (b *Bucket) load(ctx context.Context, key string) (Stored, error) {
	return b.loadNot(ctx, key, "")
}

// loadNot is load for a caller that has the manifest with this ETag: if it is still the same,
// the error may be objstore.ErrNotModified.
func (b *Bucket) loadNot(ctx context.Context, key, etag string) (Stored, error) {
	body, info, err := b.store.Get(ctx, key, objstore.GetOptions{IfNoneMatch: etag})
	if err != nil {
		return Stored{}, err
	}
	defer body.Close()
	var raw bytes.Buffer
	object := bufio.NewReader(io.TeeReader(io.LimitReader(body, maxManifest), &raw))
	if key == manifestKey(b.name) {
		if v, err := b.parseVacancy(object, info); err != nil {
			return Stored{}, err
		} else if v != nil {
			return Stored{}, v
		}
	}
	m, err := b.decode(key, object)
	if err != nil {
		return Stored{}, err
	}
	return Stored{Manifest: m, etag: info.ETag, raw: raw.Bytes(), said: info.ModTime.Round(0), heard: time.Now()}, nil
}

// Swap replaces the manifest prev with m, or creates the first one if prev is zero; then it
// may replace what a deleted backup has left. Every
// swap writes something new, so if the bucket has what Swap tried to write, the swap
// succeeded, whatever the store answered. ErrLost means that another writer was faster.
// After any other error, including ErrGone, m may be stored already, or may still be
// stored when a delayed request arrives. Continue with the returned Stored instead of
// prev, and Settle it first.
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
	// Always set one of the two conditions. With no manifest to replace, create the
	// first one; the store rejects an ETag that it never issued.
	opts := objstore.PutOptions{IfMatch: objstore.Matching(prev.etag)}
	if prev.Manifest == nil && prev.etag == "" {
		opts = objstore.PutOptions{IfAbsent: true}
	}
	// Do not rely on the store: never replace a manifest unconditionally.
	if err := opts.Validate(); err != nil {
		return prev, fmt.Errorf("replace the manifest of %s: %w", b.name, err)
	}
	info, err := b.store.Put(ctx, manifestKey(b.name), bytes.NewReader(raw), opts)
	if err == nil {
		return Stored{Manifest: m, etag: info.ETag, raw: raw, said: info.ModTime.Round(0), heard: time.Now(), put: true}, nil
	}
	// The answer may have been lost, perhaps to an earlier attempt of a retrying store.
	prev.tried = append(slices.Clip(prev.tried), raw)
	now, rerr := b.Manifest(ctx)
	gone, wasDeleted := deleted(rerr)
	switch {
	case rerr == nil && bytes.Equal(now.raw, raw):
		return now, nil
	case wasDeleted && prev.Manifest != nil:
		return prev, b.lost(gone)
	case wasDeleted && prev.etag == "": // a new backup may begin in its place
		m.Epoch = gone.next(m.Epoch)
		m.Lineage[len(m.Lineage)-1].Epoch = m.Epoch
		next, err := b.Swap(ctx, Stored{etag: gone.etag}, m)
		if err != nil {
			next.etag = "" // what is there will be read again
		}
		return next, err
	case errors.Is(rerr, ErrNoBackup) && prev.Manifest != nil: // stores answer differently here
		return prev, b.gone()
	case rerr == nil && errors.Is(err, objstore.ErrPrecondition) && !prev.ours(now.raw):
		return prev, b.lost(nil)
	case errors.Is(rerr, ErrNameTaken):
		err = fmt.Errorf("%w: %w", err, rerr)
	case rerr != nil && !errors.Is(rerr, ErrNoBackup):
		err = fmt.Errorf("%w; and the stored manifest cannot be read: %w", err, rerr)
	}
	return prev, err
}

// Settle determines the outcome of swaps of s that is still unknown, and returns the
// manifest that the bucket has now: s or one that was to replace it. If there are no such
// swaps, it makes no request. ErrLost means that the bucket has neither, ErrGone that it
// has no manifest.
func (b *Bucket) Settle(ctx context.Context, s Stored) (Stored, error) {
	if !s.Unsettled() {
		return s, nil
	}
	return b.now(ctx, s)
}

// Fence marks the writer of s as Fenced. From then on it can rely on nothing that it
// stores, and what it has relied on is in the bucket: a takeover that looks after that
// loses none of it.
func (b *Bucket) Fence(ctx context.Context, s Stored) error {
	m := s.Clone()
	m.Fenced, m.UpdatedAt = true, time.Now().UnixMilli()
	_, err := b.Swap(ctx, s, m)
	return err
}

// Current returns the manifest that the bucket has now, if that is s or one that was to
// replace it. Its errors are those of Settle. Unlike Settle, it always asks the bucket:
// it reads one byte if that is enough.
func (b *Bucket) Current(ctx context.Context, s Stored) (Stored, error) {
	body, info, err := b.store.Get(ctx, manifestKey(b.name), objstore.GetOptions{Length: 1})
	if err == nil {
		err = body.Close()
		if err == nil && info.ETag == s.etag {
			return s, nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	return b.now(ctx, s)
}

func (b *Bucket) now(ctx context.Context, s Stored) (Stored, error) {
	now, err := b.Manifest(ctx)
	gone, wasDeleted := deleted(err)
	switch {
	case wasDeleted && s.Manifest != nil:
		return s, b.lost(gone)
	case errors.Is(err, ErrNoBackup) && s.Manifest != nil:
		return s, b.gone()
	case err != nil:
		return s, err
	case !s.ours(now.raw):
		return s, b.lost(nil)
	case bytes.Equal(now.raw, s.raw):
		return s, nil // the tried swaps may still arrive
	}
	return now, nil
}

// lost is the error of a writer whose manifest is no longer there. gone, if not nil, is
// what is there.
func (b *Bucket) lost(gone *vacancy) error {
	if gone != nil {
		return fmt.Errorf("%w: the backup %s is gone: %w", ErrLost, b.name, ErrDeleted)
	}
	return fmt.Errorf("%w: %s is not the manifest that this writer stored", ErrLost, manifestKey(b.name))
}

func (b *Bucket) gone() error { return fmt.Errorf("%w (%s)", ErrGone, manifestKey(b.name)) }

// context is the sealing context of the object under key.
func (b *Bucket) context(databaseID, key string) seal.Context {
	return seal.Context{DatabaseID: databaseID, Name: key}
}

// SealBatch returns a writer that seals a batch into dst. Once it is closed, dst holds
// the object to store under key.
func (b *Bucket) SealBatch(dst io.Writer, databaseID, key string) (io.WriteCloser, error) {
	return seal.NewWriter(dst, b.opts, b.context(databaseID, key))
}

// CompressBatch returns a writer for a batch whose name is not known yet. Once it is
// closed, pass the contents of dst to EncryptBatch.
func (b *Bucket) CompressBatch(dst io.Writer) (io.WriteCloser, error) {
	return seal.Compress(dst, b.opts.Compression)
}

// EncryptBatch returns the object to store under key.
func (b *Bucket) EncryptBatch(compressed []byte, databaseID, key string) ([]byte, error) {
	return seal.Encrypt(compressed, b.opts.Ring, b.context(databaseID, key))
}

// Batches lists the batches that begin in a span, in the order of their names.
func (b *Bucket) Batches(ctx context.Context, s Span) (out []Batch, err error) {
	for o, err := range b.batches(ctx, place{node: s.NodeID}, s.From) {
		if err != nil {
			return nil, err
		}
		if s.To != 0 && o.From > s.To {
			break
		}
		if o.Epoch == s.Epoch {
			out = append(out, o)
		}
	}
	return out, nil
}

// LastEpoch is the largest epoch for which node has batches, or 0. Batches outlive a lost
// manifest. An epoch that no session can reach comes from a foreign object and is
// ignored.
func (b *Bucket) LastEpoch(ctx context.Context, node string) (last int64, err error) {
	for o, err := range b.batches(ctx, place{node: node}, 0) {
		if err != nil {
			return 0, err
		}
		if o.Epoch < maxEpoch/2 {
			last = max(last, o.Epoch)
		}
	}
	return last, nil
}

// batches lists the batches of all of a node's sessions that begin at from or later.
func (b *Bucket) batches(ctx context.Context, at place, from int64) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		folder := logFolder(cmp.Or(at.home.name, b.name), at.node)
		after := fmt.Sprintf("%s%012d", folder, from)
		for info, err := range b.store.List(ctx, folder, objstore.ListOptions{StartAfter: after}) {
			if err != nil {
				yield(Batch{}, err)
				return
			}
			o, ok := parseBatch(at.node, strings.TrimPrefix(info.Key, folder))
			o.Size, o.home = info.Size, at.home
			if ok && !yield(o, nil) {
				return
			}
		}
	}
}

// count counts the bytes written to it.
type count int64

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}

// PutSnapshot stores a database file under key and fills in s with its key, sizes, hash
// and storage time. It returns objstore.ErrPrecondition if the key is taken.
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

// OpenSnapshot opens the database file of a snapshot that m names. The reader fails, at
// the end at the latest, if the contents are not what the manifest says.
func (b *Bucket) OpenSnapshot(ctx context.Context, m *Manifest, s Snapshot) (io.ReadCloser, error) {
	body, _, err := b.store.Get(ctx, s.Key, objstore.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: snapshot %s is missing", ErrCorrupt, s.Key)
	}
	if err != nil {
		return nil, err
	}
	plain, err := seal.NewReader(body, b.opts.Ring, b.context(m.sealedIn(s.Key), s.Key))
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
