package wrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// Prompt returns s with requests given up when the store does not answer. Each request
// must make progress within a period, however many there are and however much data they
// move.
func Prompt(s objstore.Store, within func() time.Duration) objstore.Store { return prompt{s, within} }

type prompt struct {
	objstore.Store
	within func() time.Duration
}

var errSilent = errors.New("the store does not answer")

// patience tracks how long a request may stay silent.
type patience struct {
	within time.Duration
	timer  *time.Timer
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (p prompt) wait(ctx context.Context) *patience {
	w := &patience{within: p.within()}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(w.within, func() { w.cancel(fmt.Errorf("%w within %s", errSilent, w.within)) })
	return w
}

func (w *patience) heard()  { w.timer.Stop() }
func (w *patience) listen() { w.timer.Reset(w.within) }

func (w *patience) end() {
	w.heard()
	w.cancel(nil)
}

// explain adds to a request's error why it was given up.
func (w *patience) explain(err error) error {
	if cause := context.Cause(w.ctx); err != nil && errors.Is(cause, errSilent) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// Unwrap returns the store below; see objstore.Watch.
func (p prompt) Unwrap() objstore.Store { return p.Store }

func (p prompt) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	w := p.wait(ctx)
	defer w.end()
	info, err := p.Store.Put(w.ctx, key, body, opts)
	return info, w.explain(err)
}

func (p prompt) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	w := p.wait(ctx)
	body, info, err := p.Store.Get(w.ctx, key, opts)
	w.heard()
	if err != nil {
		defer w.end()
		return nil, info, w.explain(err)
	}
	return &promptBody{body, w}, info, nil
}

func (p prompt) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		w := p.wait(ctx)
		defer w.end()
		for info, err := range p.Store.List(w.ctx, prefix, opts) {
			w.heard()
			if !yield(info, w.explain(err)) {
				return
			}
			w.listen()
		}
	}
}

func (p prompt) Delete(ctx context.Context, key string) error {
	w := p.wait(ctx)
	defer w.end()
	return w.explain(p.Store.Delete(w.ctx, key))
}

// promptBody is the body of an object, which may not stay silent for long either.
type promptBody struct {
	io.ReadCloser
	w *patience
}

func (b *promptBody) Read(p []byte) (int, error) {
	b.w.listen()
	n, err := b.ReadCloser.Read(p)
	b.w.heard()
	if err == io.EOF {
		return n, err
	}
	return n, b.w.explain(err)
}

func (b *promptBody) Close() error {
	defer b.w.end()
	return b.ReadCloser.Close()
}
