package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"sync"

	"github.com/driftdb/driftdb-go/objstore"
)

// While a batch is being read, others are under way: leastAhead of them, which are
// some MiB each unless a single transaction is larger, and if they are small up to
// mostAhead. A writer that is alive stores small ones all the time, and whoever
// follows it from afar has to be faster.
const (
	leastAhead = 4
	mostAhead  = 16
	fewBytes   = 4 << 20
)

// fetcher reads batches ahead of the one that is wanted now, and keeps them
// until the walk has passed them.
type fetcher struct {
	b      *Bucket
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ahead  map[Batch]*fetched
}

type fetched struct {
	done chan struct{}
	data []byte
	err  error
}

func newFetcher(ctx context.Context, b *Bucket) *fetcher {
	f := &fetcher{b: b, ahead: map[Batch]*fetched{}}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// want starts to read what is not under way yet.
func (f *fetcher) want(batches ...Batch) {
	for _, o := range batches {
		if f.ahead[o] != nil {
			continue
		}
		r := &fetched{done: make(chan struct{})}
		f.ahead[o] = r
		f.wg.Go(func() {
			defer close(r.done)
			r.data, r.err = f.read(o)
		})
	}
}

// passed forgets what a walk at sequence has no more use for.
func (f *fetcher) passed(sequence int64) {
	maps.DeleteFunc(f.ahead, func(o Batch, _ *fetched) bool { return o.To <= sequence })
}

// get returns the object of batch o.
func (f *fetcher) get(o Batch) ([]byte, error) {
	f.want(o)
	r := f.ahead[o]
	<-r.done
	return r.data, r.err
}

func (f *fetcher) read(o Batch) ([]byte, error) {
	key := BatchKey(f.b.name, o)
	body, info, err := f.b.store.Get(f.ctx, key, objstore.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: batch %s has vanished", ErrCorrupt, key)
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data := make([]byte, 0, info.Size+512)
	for {
		n, err := body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}

// close stops what is under way and waits for it.
func (f *fetcher) close() {
	f.cancel()
	f.wg.Wait()
}
