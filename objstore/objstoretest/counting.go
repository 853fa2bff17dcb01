package objstoretest

import (
	"context"
	"io"
	"iter"
	"sync"

	"github.com/driftdb/driftdb-go/objstore"
)

// Op is one of the four operations of a store.
type Op string

// The operations.
const (
	Put    Op = "put"
	Get    Op = "get"
	List   Op = "list"
	Delete Op = "delete"
)

// Tally counts the calls of one operation.
type Tally struct {
	Calls  int   // one for each call, and for each started iteration of a List
	Errors int   // calls that returned an error
	Bytes  int64 // of the bodies that Put read and Get returned
}

// Counting wraps a store and counts the calls of it.
type Counting struct {
	inner objstore.Store

	mu      sync.Mutex
	tallies map[Op]Tally
}

// Count returns a store that passes everything on to s.
func Count(s objstore.Store) *Counting {
	return &Counting{inner: s, tallies: make(map[Op]Tally)}
}

// Tally returns the counts of one operation so far.
func (c *Counting) Tally(op Op) Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tallies[op]
}

// Calls returns the number of calls of all operations so far.
func (c *Counting) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, t := range c.tallies {
		n += t.Calls
	}
	return n
}

// Reset sets all counts to zero.
func (c *Counting) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tallies)
}

func (c *Counting) add(op Op, calls int, bytes int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[op]
	t.Calls += calls
	t.Bytes += bytes
	if err != nil {
		t.Errors++
	}
	c.tallies[op] = t
}

// Put implements [objstore.Store].
func (c *Counting) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	c.add(Put, 1, 0, nil)
	info, err := c.inner.Put(ctx, key, readerFunc(func(p []byte) (int, error) {
		n, err := body.Read(p)
		c.add(Put, 0, int64(n), nil)
		return n, err
	}), opts)
	c.add(Put, 0, 0, err)
	return info, err
}

// Get implements [objstore.Store].
func (c *Counting) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	body, info, err := c.inner.Get(ctx, key, opts)
	c.add(Get, 1, 0, err)
	if err != nil {
		return nil, info, err
	}
	return readCloser{readerFunc(func(p []byte) (int, error) {
		n, err := body.Read(p)
		c.add(Get, 0, int64(n), nil)
		return n, err
	}), body}, info, nil
}

// List implements [objstore.Store].
func (c *Counting) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		c.add(List, 1, 0, nil)
		for info, err := range c.inner.List(ctx, prefix, opts) {
			c.add(List, 0, 0, err)
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements [objstore.Store].
func (c *Counting) Delete(ctx context.Context, key string) error {
	err := c.inner.Delete(ctx, key)
	c.add(Delete, 1, 0, err)
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type readCloser struct {
	io.Reader
	io.Closer
}
