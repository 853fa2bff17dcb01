package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"sync"

	"github.com/driftdb/driftdb-go/objstore"
)

// While one batch is being read, others are fetched: leastAhead of them, which are some
// MiB each unless a single transaction is larger, and up to mostAhead if they are small.
// A live writer keeps storing small batches, and a distant reader that follows it must be
// faster.
const (
	leastAhead = 4
	mostAhead  = 16
	fewBytes   = 4 << 20
	mostBytes  = 64 << 20 // the most kept in memory, unless one object is larger
)

// enough reports whether the batches that are fetched already, n with so many bytes, are
// enough to leave next for later.
func enough(n int, bytes int64, next Batch) bool {
	return n >= leastAhead && bytes > fewBytes || n == mostAhead || n > 0 && bytes+next.Size > mostBytes
}

// fetcher reads batches ahead of the one that is needed now, and keeps them until the
// walk has passed them.
type fetcher struct {
	b      *Bucket
	id     string // of the database
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

func newFetcher(ctx context.Context, b *Bucket, databaseID string) *fetcher {
	f := &fetcher{b: b, id: databaseID, ahead: map[Batch]*fetched{}}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// want starts reading the batches that are not being read yet.
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

// passed drops the batches that a walk at sequence no longer needs.
func (f *fetcher) passed(sequence int64) {
	maps.DeleteFunc(f.ahead, func(o Batch, _ *fetched) bool { return o.To <= sequence })
}

// forget drops the object of batch o.
func (f *fetcher) forget(o Batch) { delete(f.ahead, o) }

// get returns the object of batch o.
func (f *fetcher) get(o Batch) ([]byte, error) {
	f.want(o)
	r := f.ahead[o]
	<-r.done
	f.spare(o)
	return r.data, r.err
}

// spare drops all other objects if they use too much memory together.
func (f *fetcher) spare(o Batch) {
	held := 0
	for _, r := range f.ahead {
		held += r.size()
	}
	if held > mostBytes {
		maps.DeleteFunc(f.ahead, func(b Batch, r *fetched) bool { return b != o && r.size() > 0 })
	}
}

// size is how much memory r's data uses; 0 until it has arrived.
func (r *fetched) size() int {
	select {
	case <-r.done:
		return len(r.data)
	default:
		return 0
	}
}

// read reads the object of batch o, and no more of it than the listed size. It continues
// only if the object begins as that batch does, so at most the beginning of a foreign
// object is ever in memory. It returns errOther if the object itself is faulty, and
// errUnread if the store did not provide it.
func (f *fetcher) read(o Batch) ([]byte, error) {
	key := f.b.key(o)
	body, _, err := f.b.store.Get(f.ctx, key, objstore.GetOptions{})
	unread := func(err error) error { return fmt.Errorf("%s %w: %w", key, errUnread, err) }
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unread(fmt.Errorf("%w: it is missing", ErrCorrupt))
	}
	if err != nil {
		return nil, unread(err)
	}
	defer body.Close()
	src := &source{Reader: io.LimitReader(body, o.Size+1)}
	var data bytes.Buffer
	_, err = f.b.openBatch(f.id, o, io.TeeReader(src, &data))
	if src.err != nil {
		return nil, unread(src.err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOther, err)
	}
	// The listing may be wrong, so memory grows only with the bytes that arrive.
	data.Grow(int(min(max(o.Size-int64(data.Len()), 0), fewBytes)) + bytes.MinRead)
	if _, err := data.ReadFrom(src); err != nil {
		return nil, unread(err)
	}
	if n := int64(data.Len()); n != o.Size {
		return nil, fmt.Errorf("%w: %w: %s is listed with %d bytes but has a different size", errOther, ErrCorrupt, key, o.Size)
	}
	return data.Bytes(), nil
}

// source remembers why its reader failed, whatever error the layers above report.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// close stops the reads under way and waits for them.
func (f *fetcher) close() {
	f.cancel()
	f.wg.Wait()
}
