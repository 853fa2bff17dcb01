package objstoretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// ErrInjected is wrapped by every error that a [Faulty] store injects.
var ErrInjected = errors.New("injected fault")

// Call is a call that is about to be made.
type Call struct {
	N   int // counts all calls of the store, from 1
	Op  Op
	Key string // the key, or a List's prefix
	Try int    // counts the calls with this Op and Key, from 1
}

// Kind is what goes wrong.
type Kind int

// The kinds of faults.
const (
	// None lets the call through.
	None Kind = iota
	// Fail makes the call fail before it has any effect.
	Fail
	// Lose lets the call take effect, and loses the response.
	Lose
	// Cut ends the body after At bytes with io.ErrUnexpectedEOF: the body that a Get
	// returns, or that a Put reads, which then stores nothing. A List fails after At
	// entries. A Delete fails.
	Cut
	// Flip silently inverts the lowest bit of byte At of the body that a Get returns or a
	// Put stores. It does nothing to other calls.
	Flip
)

// Fault is what happens to a call. The zero value lets it through.
type Fault struct {
	Kind  Kind
	Err   error         // for Fail and Lose; default a 503, see Status
	At    int64         // for Cut and Flip; nothing happens if the body is shorter
	Delay time.Duration // waited before anything else, unless the context ends
}

// Hook decides what happens to a call. It may be called concurrently.
type Hook func(Call) Fault

// Faulty wraps a store and injects the faults that its hook returns.
type Faulty struct {
	inner objstore.Store

	mu    sync.Mutex
	hook  Hook
	calls int
	tries map[Call]int // by Op and Key
}

// Break returns a store that asks hook before it passes a call on to s. A nil hook lets
// every call through.
func Break(s objstore.Store, hook Hook) *Faulty {
	return &Faulty{inner: s, hook: hook, tries: make(map[Call]int)}
}

// SetHook replaces the hook, for a fault that begins or ends during a test. The counts of
// calls continue.
func (f *Faulty) SetHook(hook Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// Calls returns the number of calls so far.
func (f *Faulty) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// next counts the call, asks the hook, and waits.
func (f *Faulty) next(ctx context.Context, op Op, key string) (Fault, error) {
	f.mu.Lock()
	f.calls++
	which := Call{Op: op, Key: key}
	f.tries[which]++
	call := Call{N: f.calls, Op: op, Key: key, Try: f.tries[which]}
	hook := f.hook
	f.mu.Unlock()
	if hook == nil {
		return Fault{}, nil
	}
	fault := hook(call)
	if fault.Err == nil {
		fault.Err = Status(http.StatusServiceUnavailable)
	}
	if err := wait(ctx, fault.Delay); err != nil {
		return Fault{}, err
	}
	if fault.Kind == Fail {
		return Fault{}, fault.Err
	}
	return fault, nil
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Put implements [objstore.Store].
func (f *Faulty) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	fault, err := f.next(ctx, Put, key)
	if err != nil {
		return objstore.Info{}, err
	}
	info, err := f.inner.Put(ctx, key, fault.body(body), opts)
	if err == nil && fault.Kind == Lose {
		return objstore.Info{}, fault.Err
	}
	return info, err
}

// Get implements [objstore.Store].
func (f *Faulty) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	fault, err := f.next(ctx, Get, key)
	if err != nil {
		return nil, objstore.Info{}, err
	}
	body, info, err := f.inner.Get(ctx, key, opts)
	if err != nil {
		return nil, objstore.Info{}, err
	}
	if fault.Kind == Lose {
		return nil, objstore.Info{}, errors.Join(fault.Err, body.Close())
	}
	return readCloser{fault.body(body), body}, info, nil
}

// List implements [objstore.Store].
func (f *Faulty) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		fault, err := f.next(ctx, List, prefix)
		if err != nil || fault.Kind == Lose {
			yield(objstore.Info{}, errors.Join(err, fault.Err))
			return
		}
		n := int64(0)
		for info, err := range f.inner.List(ctx, prefix, opts) {
			if fault.Kind == Cut && n == fault.At {
				yield(objstore.Info{}, errCut)
				return
			}
			n++
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements [objstore.Store].
func (f *Faulty) Delete(ctx context.Context, key string) error {
	fault, err := f.next(ctx, Delete, key)
	if err != nil {
		return err
	}
	if fault.Kind == Cut {
		return errCut
	}
	if err := f.inner.Delete(ctx, key); err != nil {
		return err
	}
	if fault.Kind == Lose {
		return fault.Err
	}
	return nil
}

var errCut = fmt.Errorf("%w: %w", ErrInjected, io.ErrUnexpectedEOF)

// body applies the fault to r.
func (f Fault) body(r io.Reader) io.Reader {
	at := int64(0)
	switch f.Kind {
	case Cut:
		return readerFunc(func(p []byte) (int, error) {
			left := f.At - at
			if left <= 0 {
				// A body that ends here anyway is complete.
				if n, err := r.Read(make([]byte, 1)); n == 0 {
					return 0, err
				}
				return 0, errCut
			}
			n, err := r.Read(p[:min(int64(len(p)), left)])
			at += int64(n)
			return n, err
		})
	case Flip:
		return readerFunc(func(p []byte) (int, error) {
			n, err := r.Read(p)
			if i := f.At - at; i >= 0 && i < int64(n) {
				p[i] ^= 1
			}
			at += int64(n)
			return n, err
		})
	}
	return r
}

// Status returns the error that a store returns for a response with this HTTP status: 404
// no such object, 401 and 403 permission, 412 precondition, 501 unsupported; any other is
// transient.
func Status(code int) error {
	var kind error
	switch code {
	case http.StatusNotFound:
		kind = fs.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden:
		kind = fs.ErrPermission
	case http.StatusPreconditionFailed:
		kind = objstore.ErrPrecondition
	case http.StatusNotImplemented:
		kind = errors.ErrUnsupported
	default:
		return fmt.Errorf("%w: %d %s", ErrInjected, code, http.StatusText(code))
	}
	return fmt.Errorf("%w: %d %s: %w", ErrInjected, code, http.StatusText(code), kind)
}
