// Package wrap has the layers between the engine and an object store: they retry
// requests, count them, look before they write, doubt answers, or give up on silence.
package wrap

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/objstore"
)

// Retry returns s with its operations retried under p.
//
//   - Put is retried if the body is an [io.Seeker], from where the body stood; otherwise
//     it is tried once. A failure to read or seek the body is not retried. Beware: if the
//     answer to a Put that took effect is lost, its retry finds the object there. A Put
//     with a condition then fails with [objstore.ErrPrecondition] although this very call
//     wrote the object. Put cannot tell; callers compare what is stored with what they
//     wrote.
//   - Get is retried, and so is its body: when it breaks, the rest is fetched by range,
//     provided that the object's ETag is still the same (else ErrChanged). ctx bounds the
//     body too.
//   - List continues after the last key it yielded. Each Info is yielded once.
//   - Delete is retried.
func Retry(s objstore.Store, p retry.Policy) objstore.Store {
	return &store{inner: s, policy: p}
}

type store struct {
	inner  objstore.Store
	policy retry.Policy
}

// Unwrap returns the store below; see objstore.Watch.
func (s *store) Unwrap() objstore.Store { return s.inner }

func (s *store) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	seeker, ok := body.(io.Seeker)
	if !ok {
		return s.inner.Put(ctx, key, body, opts)
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return objstore.Info{}, fmt.Errorf("put %q: seek body: %w", key, err)
	}
	var info objstore.Info
	first := true
	err = retry.Do(ctx, s.policy, func(ctx context.Context) error {
		if !first {
			if _, err := seeker.Seek(start, io.SeekStart); err != nil {
				return retry.Permanent(fmt.Errorf("put %q: seek body: %w", key, err))
			}
		}
		first = false
		watched := &watchedReader{r: body}
		var err error
		if info, err = s.inner.Put(ctx, key, watched, opts); err != nil && watched.err != nil {
			return retry.Permanent(err)
		}
		return err
	})
	return info, err
}

// watchedReader records that reading failed: then the fault is not the store's.
type watchedReader struct {
	r   io.Reader
	err error
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

func (s *store) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	var part io.ReadCloser
	var info objstore.Info
	err := retry.Do(ctx, s.policy, func(ctx context.Context) (err error) {
		part, info, err = s.inner.Get(ctx, key, opts)
		return err
	})
	if err != nil {
		return nil, objstore.Info{}, err
	}
	return newBody(ctx, s, part, info, key, opts), info, nil
}

func (s *store) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		opts := opts // a sequence may be ranged over more than once
		a := retry.Attempts{Policy: s.policy}
		for {
			more, failure := s.listOn(ctx, prefix, &opts, &a, yield)
			if !more {
				return
			}
			if err := a.Again(ctx, failure); err != nil {
				yield(objstore.Info{}, err)
				return
			}
		}
	}
}

// listOn lists until the store fails, and advances opts past what it yielded. It returns
// false when there is no more to list, or the consumer stopped.
func (s *store) listOn(ctx context.Context, prefix string, opts *objstore.ListOptions, a *retry.Attempts, yield func(objstore.Info, error) bool) (bool, error) {
	for info, err := range s.inner.List(ctx, prefix, *opts) {
		if err != nil {
			return true, err
		}
		if !yield(info, nil) {
			return false, nil
		}
		opts.StartAfter, *a = info.Key, retry.Attempts{Policy: s.policy}
	}
	return false, nil
}

func (s *store) Delete(ctx context.Context, key string) error {
	return retry.Do(ctx, s.policy, func(ctx context.Context) error { return s.inner.Delete(ctx, key) })
}
