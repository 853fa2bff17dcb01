package wrap

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/objstore"
)

// Meter counts the requests to a store, and records whether it answers.
type Meter struct {
	objstore.Store
	Requests, Bytes atomic.Int64 // Bytes counts those sent
	Received        atomic.Int64 // bytes of the bodies of objects

	Heard   atomic.Bool // the store has answered, even if with a refusal
	Failing atomic.Bool // the last request got no answer, or a transient error

	Silent bool // the store did not answer the previous session; set before the first request
}

// note records whether a request was answered. A request that its own caller gave up
// tells nothing.
func (m *Meter) note(ctx context.Context, err error) {
	if retry.Transient(err) {
		if ctx.Err() == nil || errors.Is(context.Cause(ctx), errSilent) {
			m.Failing.Store(true)
		}
		return
	}
	m.Heard.Store(true)
	m.Failing.Store(false)
}

// Unwrap returns the store below; see objstore.Watch.
func (m *Meter) Unwrap() objstore.Store { return m.Store }

// Put counts the request and the bytes sent.
func (m *Meter) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	m.Requests.Add(1)
	counted := &countedReader{body, &m.Bytes}
	var source io.Reader = counted
	if s, ok := body.(io.Seeker); ok {
		source = struct {
			io.Reader
			io.Seeker
		}{counted, s}
	}
	info, err := m.Store.Put(ctx, key, source, opts)
	m.note(ctx, err)
	return info, err
}

// Get counts the request.
func (m *Meter) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	m.Requests.Add(1)
	body, info, err := m.Store.Get(ctx, key, opts)
	m.note(ctx, err)
	if err != nil {
		return nil, info, err
	}
	return countedBody{countedReader{body, &m.Received}, body}, info, nil
}

// List counts one request, however many the store makes of it.
func (m *Meter) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	m.Requests.Add(1)
	return func(yield func(objstore.Info, error) bool) {
		for info, err := range m.Store.List(ctx, prefix, opts) {
			m.note(ctx, err)
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete counts the request.
func (m *Meter) Delete(ctx context.Context, key string) error {
	m.Requests.Add(1)
	err := m.Store.Delete(ctx, key)
	m.note(ctx, err)
	return err
}

// countedBody is the body of an object.
type countedBody struct {
	countedReader
	io.Closer
}

type countedReader struct {
	io.Reader
	n *atomic.Int64
}

func (r countedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n.Add(int64(n))
	return n, err
}
