package wrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/driftdb/driftdb-go/objstore"
)

// Advisory returns s for stores that do not honour conditions: it looks before it writes.
// That detects a second writer most of the time, but not when both write at once.
func Advisory(s objstore.Store) objstore.Store { return advisory{s} }

type advisory struct{ objstore.Store }

// Unwrap returns the store below; see objstore.Watch.
func (a advisory) Unwrap() objstore.Store { return a.Store }

func (a advisory) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if opts == (objstore.PutOptions{}) {
		return a.Store.Put(ctx, key, body, opts)
	}
	if err := opts.Validate(); err != nil {
		return objstore.Info{}, fmt.Errorf("put %q: %w", key, err)
	}
	there, info, err := a.Get(ctx, key, objstore.GetOptions{Length: 1})
	switch {
	case err == nil:
		if err := there.Close(); err != nil {
			return objstore.Info{}, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return objstore.Info{}, err
	}
	if opts.IfAbsent && err == nil || !opts.IfMatch.Holds(info.ETag) {
		return objstore.Info{}, fmt.Errorf("put %q: %w", key, objstore.ErrPrecondition)
	}
	return a.Store.Put(ctx, key, body, objstore.PutOptions{})
}
