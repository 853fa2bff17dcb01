package objstore

import (
	"context"
	"errors"
)

// Watcher is a Store that can tell when an object may have been stored, so that those who
// wait for it need not ask again and again.
type Watcher interface {
	Store

	// Watch returns a channel that receives a value when an object under key may have been
	// stored or deleted since the last value was received: at least once for each, if the
	// store learns of it, and perhaps without a reason. The channel is closed when ctx ends,
	// or when the store can no longer tell. Watch is a help and no promise: a folder on a
	// network drive does not tell what other machines do.
	Watch(ctx context.Context, key string) (<-chan struct{}, error)
}

// Watch calls s.Watch if s is a Watcher, or if the store that it wraps is: a wrapper has a
// method Unwrap that returns the store below it. For any other store it returns an error
// that wraps [errors.ErrUnsupported].
func Watch(ctx context.Context, s Store, key string) (<-chan struct{}, error) {
	for s != nil {
		if w, ok := s.(Watcher); ok {
			return w.Watch(ctx, key)
		}
		u, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = u.Unwrap()
	}
	return nil, errors.ErrUnsupported
}
