// Package retry does again what failed for a reason that may pass: with
// exponential backoff and jitter, a bounded number of times.
package retry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// Policy says how often and how fast to retry. The zero value does not retry.
type Policy struct {
	MaxRetries int           // attempts after the first
	BaseDelay  time.Duration // before the first retry; it doubles with every further one
	MaxDelay   time.Duration // bounds the doubling
}

// Default is the policy used unless another is asked for: 5 retries after
// 500 ms, 1 s, 2 s, 4 s and 8 s, never more than 30 s, less the jitter.
func Default() Policy {
	return Policy{MaxRetries: 5, BaseDelay: 500 * time.Millisecond, MaxDelay: 30 * time.Second}
}

// Delay returns how long to wait before retry number n, from 1. Half of the
// doubled delay is fixed and half is random ("equal jitter"): clients that
// failed together do not come back together, and none comes back at once.
func (p Policy) Delay(n int) time.Duration {
	d := min(p.BaseDelay, p.MaxDelay)
	if d <= 0 {
		return 0
	}
	for ; n > 1 && d < p.MaxDelay; n-- {
		if d > p.MaxDelay/2 { // and do not overflow
			d = p.MaxDelay
		} else {
			d *= 2
		}
	}
	return d - rand.N(d/2+1)
}

// Do calls fn until it succeeds, fails with an error that is not Transient, or
// has failed once more than p allows. It returns the last error, wrapped.
// When ctx ends, Do returns at once with an error that wraps both ctx's and
// fn's. An error of a context of fn's own, while ctx lives, is transient.
func Do(ctx context.Context, p Policy, fn func(context.Context) error) error {
	a := Attempts{Policy: p}
	for {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if err := a.Again(ctx, err); err != nil {
			return err
		}
	}
}

// Permanent marks an error that must not be retried. Do returns err itself.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// lasting are the errors of a store that do not pass by waiting.
var lasting = []error{
	fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported,
	objstore.ErrPrecondition, objstore.ErrNoETag, objstore.ErrNoBucket, objstore.ErrInvalidKey,
}

// Transient reports whether the same call may succeed later. Whatever is not
// known to last is transient: networks and servers fail in too many ways to
// list.
func Transient(err error) bool {
	if _, ok := errors.AsType[*permanentError](err); ok {
		return false
	}
	for _, l := range lasting {
		if errors.Is(err, l) {
			return false
		}
	}
	return err != nil
}

// Attempts counts the failures of one undertaking.
type Attempts struct {
	Policy Policy
	failed int
}

// Again is told of a failure. It returns nil when it is time to try again, and
// the error to give up with otherwise.
func (a *Attempts) Again(ctx context.Context, err error) error {
	if p, ok := errors.AsType[*permanentError](err); ok {
		return p.err
	}
	if !Transient(err) || hopeless(ctx, err) {
		return err
	}
	if ctx.Err() != nil {
		return ended(ctx, err)
	}
	a.failed++
	if a.failed > a.Policy.MaxRetries {
		if a.Policy.MaxRetries <= 0 {
			return err
		}
		return fmt.Errorf("gave up after %d attempts: %w", a.failed, err)
	}
	timer := time.NewTimer(a.Policy.Delay(a.failed))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx, err)
	}
}

// ended returns an error for the end of ctx that keeps what went wrong before.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w; the last attempt failed: %w", ctx.Err(), err)
}

// ErrChanged means that an object was replaced while it was being read, so that what is
// left to read is of another one.
var ErrChanged = errors.New("the object changed while it was read")
