package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

// Rekeyed counts what Rekey found.
type Rekeyed struct {
	Objects int // sealed objects and branch manifests that are now under the first key
	Done    int // of those, re-encrypted by this call
	Bytes   int64
	Left    []Refusal // objects under an older key, or under none, that were left as they are
}

// rekeying is how many objects are re-encrypted concurrently.
const rekeying = 4

// errUnneeded means that an object is not needed by anything that the manifest leads to.
var errUnneeded = errors.New("the backup does not need it")

// Rekey re-encrypts, under the ring's first key, the objects that the manifest leads to
// and that an older key has encrypted, after proving that they are what the manifest
// says. Only Rekey ever replaces a batch, a snapshot or a branch's manifest, and it
// replaces only the sealing: the contents stay the same, and a reader that has both keys
// notices nothing. Objects already under the first key are skipped, so an interrupted
// Rekey resumes where it stopped.
//
// All other objects are left as they are: sealed under the first key, an attacker could
// later put them where they count. An object that the manifest leads to but that cannot
// be proven is an error.
//
// The manifest comes last. Replacing it fences off a writer that still uses the older key
// and would otherwise go on sealing with it. If the older key has leaked, the manifest is
// replaced in any case; that proves that it was not replaced since Rekey began.
func (b *Bucket) Rekey(ctx context.Context, leaked bool, progress func(Rekeyed)) (Rekeyed, error) {
	if b.opts.Ring == nil {
		return Rekeyed{}, fmt.Errorf("%w: no key was given; the first key encrypts, the others decrypt what is stored", seal.ErrKey)
	}
	if leaked && len(b.opts.Ring.KeyIDs()) < 2 {
		return Rekeyed{}, fmt.Errorf("%w: only one key was given; pass the new key first, then the leaked one, which decrypts what is stored", seal.ErrKey)
	}
	m, err := b.Manifest(ctx)
	if err != nil {
		return Rekeyed{}, err
	}
	if err := b.Probe(ctx, m.NodeID, m.DatabaseID); err != nil { // only conditional writes protect a writer's newer manifest
		return Rekeyed{}, err
	}
	run := &rekey{b: b, m: m.Manifest, progress: progress}
	if err := run.all(ctx); err != nil {
		return run.count, err
	}
	if leaked || !b.opts.Ring.FirstSeals(m.raw) {
		if _, err := b.Swap(ctx, m, m.Manifest); err != nil {
			return run.count, fmt.Errorf("all objects are re-encrypted, but the manifest is not; run it again: %w", err)
		}
	}
	return run.count, run.damage()
}

type rekey struct {
	b        *Bucket
	m        *Manifest
	progress func(Rekeyed)

	mu    sync.Mutex
	count Rekeyed
	old   []object // objects not sealed by the first key
}

func (r *rekey) all(ctx context.Context) error {
	objects, err := r.b.nodes(ctx)
	if err != nil {
		return err
	}
	if err := r.each(ctx, objects, r.look); err != nil {
		return err
	}
	found, err := r.b.reach(ctx, r.m, objects, r.old)
	if err != nil {
		return err
	}
	return r.each(ctx, r.old, func(ctx context.Context, o object) error { return r.renew(ctx, found, o) })
}

// each calls do for all objects, some concurrently, and stops at the first error. Later
// errors are only its consequences.
func (r *rekey) each(ctx context.Context, objects []object, do func(context.Context, object) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, rekeying)
	var wg sync.WaitGroup
	for _, o := range objects {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := do(ctx, o); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// look checks whether the first key has sealed o.
func (r *rekey) look(ctx context.Context, o object) error {
	if o.kind == otherObject || o.kind == probeObject {
		return nil
	}
	head, _, err := r.b.store.Get(ctx, o.Key, objstore.GetOptions{Length: seal.HeaderSize})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	start, err := io.ReadAll(head)
	if err = errors.Join(err, head.Close()); err != nil {
		return fmt.Errorf("read %s: %w", o.Key, err)
	}
	if r.b.opts.Ring.FirstSeals(start) {
		r.counted(o, false)
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old = append(r.old, o)
	return nil
}

func (r *rekey) counted(o object, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Objects++
	if done {
		r.count.Done, r.count.Bytes = r.count.Done+1, r.count.Bytes+o.Size
	}
	if r.progress != nil {
		r.progress(r.count)
	}
}

// renew reseals o if it is proven, and leaves it alone otherwise.
func (r *rekey) renew(ctx context.Context, found *extent, o object) error {
	err := r.b.reseal(ctx, found, o)
	switch {
	case err == nil:
		r.counted(o, true)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, objstore.ErrPrecondition):
		// Deleted meanwhile, or re-encrypted by another Rekey.
	case errors.Is(err, errOther) || errors.Is(err, errUnneeded):
		r.mu.Lock()
		defer r.mu.Unlock()
		r.count.Left = append(r.count.Left, Refusal{o.Key, err})
	default:
		return fmt.Errorf("re-encrypt %s: %w", o.Key, err)
	}
	return nil
}

// damage is the error for objects that were left although the manifest leads to them.
func (r *rekey) damage() error {
	var all []error
	for _, left := range r.count.Left {
		if !errors.Is(left.Why, errUnneeded) {
			all = append(all, fmt.Errorf("%s: %w", left.Key, left.Err()))
		}
	}
	if all == nil {
		return nil
	}
	return fmt.Errorf("everything else is re-encrypted; inspect and delete these objects, which are not what the manifest says: %w", errors.Join(all...))
}

// reseal reseals o. It returns errOther if the object itself is faulty. Nothing is stored
// before o has been read to its end.
func (b *Bucket) reseal(ctx context.Context, found *extent, o object) error {
	body, info, err := b.store.Get(ctx, o.Key, objstore.GetOptions{})
	if err != nil {
		return err
	}
	defer body.Close()
	raw := &source{Reader: body}
	err = b.resealed(ctx, found, o, raw, objstore.PutOptions{IfMatch: objstore.Matching(info.ETag)})
	if raw.err != nil {
		return raw.err
	}
	return err
}

func (b *Bucket) resealed(ctx context.Context, found *extent, o object, raw io.Reader, opts objstore.PutOptions) error {
	if o.kind == branchObject {
		return b.resign(ctx, found, o, opts)
	}
	plain, err := b.proven(found, o, raw)
	if errors.Is(err, errUnneeded) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	proven := &source{Reader: plain}
	sealed := seal.Seal(proven, b.opts, b.context(found.m.DatabaseID, o.Key))
	_, err = b.store.Put(ctx, o.Key, sealed, opts)
	err = errors.Join(err, sealed.Close())
	if proven.err != nil {
		return fmt.Errorf("%w: %w", errOther, proven.err)
	}
	return err
}

// resign reseals a branch's manifest. Anything else stored under its name, such as a
// former manifest, is left alone: under the new key an attacker could put it back.
func (b *Bucket) resign(ctx context.Context, found *extent, o object, opts objstore.PutOptions) error {
	own, err := found.branch(o)
	if err != nil {
		return err
	}
	raw, err := b.encode(own.Clone(), o.Key)
	if err != nil {
		return err
	}
	opts.IfMatch = objstore.Matching(own.etag)
	_, err = b.store.Put(ctx, o.Key, bytes.NewReader(raw), opts)
	return err
}
