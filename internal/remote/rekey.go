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
	Objects int // sealed ones, and manifests of branches
	Done    int // of those, sealed anew by this call
	Bytes   int64
}

// rekeying is how many objects are sealed anew at once.
const rekeying = 4

// Rekey seals every object that an older key of the ring has sealed anew under
// the ring's first one. It is the only thing that replaces a batch, a snapshot or a
// branch's manifest, and it replaces its sealing alone: the contents stay the same, and a reader
// who has both keys does not notice. What is done already is passed over, so a
// Rekey that was interrupted goes on where it was.
//
// The manifest is last: a writer that still uses the older key loses its epoch
// then, and would otherwise go on sealing with it.
func (b *Bucket) Rekey(ctx context.Context, progress func(Rekeyed)) (Rekeyed, error) {
	if b.opts.Ring == nil {
		return Rekeyed{}, fmt.Errorf("%w: none was given; the first key seals, the others open what there is", seal.ErrKey)
	}
	m, err := b.Manifest(ctx)
	if err != nil {
		return Rekeyed{}, err
	}
	if err := b.Probe(ctx, m.NodeID, m.DatabaseID); err != nil { // nothing else keeps a writer's newer manifest
		return Rekeyed{}, err
	}
	run := &rekey{b: b, id: m.DatabaseID, progress: progress, slots: make(chan struct{}, rekeying)}
	if err := run.all(ctx); err != nil {
		return run.count, err
	}
	if !b.opts.Ring.FirstSealed(m.MAC) {
		if _, err := b.Swap(ctx, m, m.Clone()); err != nil {
			return run.count, fmt.Errorf("all objects are sealed anew, the manifest is not; run it again: %w", err)
		}
	}
	if len(run.left) > 0 {
		return run.count, fmt.Errorf("all else is sealed anew; look at these objects, and delete them: %w", errors.Join(run.left...))
	}
	return run.count, nil
}

// errForeign says that an object is not what its name says: somebody else has put it there.
var errForeign = fmt.Errorf("%w: somebody else has put it there", ErrCorrupt)

type rekey struct {
	b        *Bucket
	id       string
	progress func(Rekeyed)
	slots    chan struct{}

	mu    sync.Mutex
	count Rekeyed
	err   error
	left  []error // what was not sealed anew, and keeps nothing else from it
}

func (r *rekey) all(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for o, err := range r.b.objects(ctx) {
		if err != nil {
			r.failed(err)
			break
		}
		if !o.sealed() && o.kind != branchObject {
			continue
		}
		r.slots <- struct{}{}
		if ctx.Err() != nil {
			<-r.slots
			break
		}
		wg.Go(func() {
			defer func() { <-r.slots }()
			if err := r.one(ctx, o); err != nil {
				r.failed(err)
				cancel()
			}
		})
	}
	wg.Wait()
	if r.err == nil {
		return ctx.Err()
	}
	return r.err
}

// failed keeps the first error: those after it are of its making.
func (r *rekey) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *rekey) one(ctx context.Context, o object) error {
	renew := r.b.reseal
	if o.kind == branchObject {
		renew = r.b.resign
	}
	done, err := renew(ctx, r.id, o)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, objstore.ErrPrecondition) {
		return nil // deleted meanwhile, or sealed anew by another Rekey
	}
	if errors.Is(err, errForeign) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.left = append(r.left, fmt.Errorf("%s: %w", o.Key, err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("seal %s anew: %w", o.Key, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Objects++
	if done {
		r.count.Done, r.count.Bytes = r.count.Done+1, r.count.Bytes+o.Size
	}
	if r.progress != nil {
		r.progress(r.count)
	}
	return nil
}

// reseal seals one object anew, unless the first key has sealed it.
func (b *Bucket) reseal(ctx context.Context, databaseID string, o object) (bool, error) {
	key := o.Key
	head, _, err := b.store.Get(ctx, key, objstore.GetOptions{Length: seal.HeaderSize})
	if err != nil {
		return false, err
	}
	start, err := io.ReadAll(head)
	if err = errors.Join(err, head.Close()); err != nil || b.opts.Ring.FirstSeals(start) {
		return false, err
	}
	body, info, err := b.store.Get(ctx, key, objstore.GetOptions{})
	if err != nil {
		return false, err
	}
	defer body.Close()
	plain, err := seal.NewReader(body, b.opts.Ring, b.context(databaseID, key))
	if err != nil {
		return false, err
	}
	sealed := seal.Seal(plain, b.opts, b.context(databaseID, key))
	_, err = b.store.Put(ctx, key, sealed, objstore.PutOptions{IfMatch: objstore.Matching(info.ETag)})
	return err == nil, errors.Join(err, sealed.Close())
}

// resign gives the manifest of a branch a MAC anew, unless the first key made it. What
// else somebody has laid under its name, such as a main manifest of former times, is never
// signed: with the new key's MAC it could be put back.
func (b *Bucket) resign(ctx context.Context, databaseID string, o object) (bool, error) {
	m, err := b.load(ctx, o.Key)
	if err == nil && (m.Branch != o.batch.branch() || m.DatabaseID != databaseID) {
		err = fmt.Errorf("%w: it is not the manifest of branch %s of this database", errForeign, o.batch.branch())
	}
	if err != nil || b.opts.Ring.FirstSealed(m.MAC) {
		return false, err
	}
	raw, err := m.encode(b.opts.Ring)
	if err != nil {
		return false, err
	}
	_, err = b.store.Put(ctx, o.Key, bytes.NewReader(raw), objstore.PutOptions{IfMatch: objstore.Matching(m.etag)})
	return err == nil, err
}
