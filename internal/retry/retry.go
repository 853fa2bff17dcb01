// Package retry repeats operations that failed for a reason that may pass, with
// exponential backoff and jitter, a bounded number of times.
package retry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// Policy is how often and how fast to retry. The zero value does not retry.
type Policy struct {
	MaxRetries int           // attempts after the first
	BaseDelay  time.Duration // before the first retry; doubles with each further one
	MaxDelay   time.Duration // bounds the doubling
}

// Default is the policy used unless another is given: 5 retries after 500 ms, 1 s, 2 s, 4
// s and 8 s, never more than 30 s, less the jitter.
func Default() Policy {
	return Policy{MaxRetries: 5, BaseDelay: 500 * time.Millisecond, MaxDelay: 30 * time.Second}
}

// Delay returns how long to wait before retry number n, counted from 1. Half of the
// doubled delay is fixed and half is random ("equal jitter"): clients that failed
// together do not retry together, and none retries at once.
func (p Policy) Delay(n int) time.Duration {
	d := min(p.BaseDelay, p.MaxDelay)
	if d <= 0 {
		return 0
	}
	for ; n > 1 && d < p.MaxDelay; n-- {
		if d > p.MaxDelay/2 { // avoids overflow
			d = p.MaxDelay
		} else {
			d *= 2
		}
	}
	return d - rand.N(d/2+1)
}

// Do calls fn until it succeeds, fails with an error that is not Transient, or has failed
// once more than p allows retries. It returns the last error, wrapped. When ctx ends, Do
// returns at once with an error that wraps both ctx's and fn's. While ctx lives, an error
// from a context of fn's own is transient.
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

// lasting are store errors that do not pass with time.
var lasting = []error{
	fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported,
	objstore.ErrPrecondition, objstore.ErrNotModified, objstore.ErrNoETag, objstore.ErrNoBucket, objstore.ErrInvalidKey,
}

// Transient reports whether the same call may succeed later. Every error not known to be
// permanent is transient: networks and servers fail in too many ways to list.
func Transient(err error) bool {
	if _, ok := errors.AsType[*permanentError](err); ok {
		return false
	}
	for _, l := range lasting {
		if errors.Is(err, l) {
			return false
		}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false // somebody has to give the server, or this machine, another certificate
	}
	return err != nil
}

// Attempts counts the failures of one operation.
type Attempts struct {
	Policy Policy
	failed int
}

// Again records a failure. It returns nil when it is time to try again, or else the error
// to give up with.
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
	tell(ctx, err)
	timer := time.NewTimer(a.Policy.Delay(a.failed))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx, err)
	}
}

// ended returns an error for the end of ctx that keeps the previous failure.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w; the last attempt failed: %w", ctx.Err(), err)
}

// ErrChanged means that an object was replaced while it was being read, so the rest
// belongs to a different object.
var ErrChanged = errors.New("the object changed while it was read")
