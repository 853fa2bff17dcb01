package disktest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"sync"

	"github.com/driftdb/driftdb-go/internal/vfs/vfstest"
	"github.com/driftdb/driftdb-go/objstore"
)

// bucket is a store that notes in the log of a disk what it is given, as soon as it has
// it.
type bucket struct {
	objstore.Store
	mu   sync.Mutex
	disk *vfstest.Disk
}

func newBucket() *bucket { return &bucket{Store: objstore.Mem()} }

// stored is an object that the bucket has got; with no data, one that it has lost.
type stored struct {
	key  string
	data []byte
}

func (s stored) String() string { return fmt.Sprintf("%s: %d bytes", s.key, len(s.data)) }

// watch begins to note; what is there already is noted first.
func (b *bucket) watch(d *vfstest.Disk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.disk = d
	for _, s := range b.all() {
		d.Note(s)
	}
}

func (b *bucket) all() []stored {
	var out []stored
	for info, err := range b.List(context.Background(), "", objstore.ListOptions{}) {
		if err != nil {
			panic(err)
		}
		r, _, err := b.Get(context.Background(), info.Key, objstore.GetOptions{})
		if err != nil {
			panic(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			panic(err)
		}
		r.Close()
		out = append(out, stored{info.Key, data})
	}
	return out
}

func (b *bucket) note(s stored) {
	if b.disk != nil {
		b.disk.Note(s)
	}
}

func (b *bucket) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return objstore.Info{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	info, err := b.Store.Put(ctx, key, bytes.NewReader(data), opts)
	if err == nil {
		b.note(stored{key, data})
	}
	return info, err
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.Store.Delete(ctx, key)
	if err == nil {
		b.note(stored{key, nil})
	}
	return err
}

// bucketAt is the bucket as it was after some operations.
func bucketAt(ops []vfstest.Op) *bucket {
	b := newBucket()
	for _, op := range ops {
		s, ok := op.Note.(stored)
		if !ok {
			continue
		}
		var err error
		if s.data == nil {
			err = b.Delete(context.Background(), s.key)
		} else {
			_, err = b.Put(context.Background(), s.key, bytes.NewReader(s.data), objstore.PutOptions{})
		}
		if err != nil {
			panic(err)
		}
	}
	return b
}

var batchKey = regexp.MustCompile(`/logs/\d+-(\d+)\.e\d+\.json$`)

// last is the last change in the batches of the bucket.
func (b *bucket) last() int64 {
	var last int64
	for _, s := range b.all() {
		if m := batchKey.FindStringSubmatch(s.key); m != nil {
			n, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				panic(err)
			}
			last = max(last, n)
		}
	}
	return last
}
