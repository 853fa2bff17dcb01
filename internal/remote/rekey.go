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
	Objects int // sealed ones, and manifests of branches, that the first key has sealed now
	Done    int // of those, re-encrypted by this call
	Bytes   int64
	Left    []Refusal // what an older key has sealed, or none, and is left as it is
}

// rekeying is how many objects are re-encrypted at once.
const rekeying = 4

// errUnneeded says that nothing that the manifest leads to needs an object.
var errUnneeded = errors.New("the backup does not need it")

// Rekey re-encrypts under the ring's first key what an older one has encrypted:
// what the manifest leads to, and has proven to be what the manifest says. It
// is the only thing that replaces a batch, a snapshot or a branch's manifest, and it
// replaces its sealing alone: the contents stay the same, and a reader who has both keys
// does not notice. What is done already is passed over, so a Rekey that was interrupted
// goes on where it was.
//
// Anything else is left as it is: under the first key, somebody could put it where it
// counts, later. What the manifest leads to and cannot be proven is an error.
//
// The manifest is last: a writer that still uses the older key loses its epoch
// then, and would otherwise go on sealing with it. If the older key has leaked, the
// manifest is replaced in any case: nobody has replaced it since Rekey began.
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
	if err := b.Probe(ctx, m.NodeID, m.DatabaseID); err != nil { // nothing else keeps a writer's newer manifest
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
	old   []object // that the first key has not sealed
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

// each does it with all objects, some at once, and stops at the first error: those after
// it are of its making.
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

// look finds out whether the first key has sealed o.
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

// renew seals o again, if it is what has been found, and leaves it otherwise.
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

// damage is the error of what was left although the manifest leads to it.
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

// reseal seals o again. What is wrong with it is errOther; while it is being read nothing
// of it is stored.
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

// resign seals the manifest of a branch again. What else somebody has laid under its name,
// such as a manifest of former times, is left: under the new key it could be put back.
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
