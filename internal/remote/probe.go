package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/driftdb/driftdb-go/objstore"
)

// ErrConditions says that a store does not honour the conditions of a Put, on
// which the protection from a second writer rests.
var ErrConditions = errors.New("the store does not honour conditional writes (If-Match and If-None-Match), so two writers could overwrite each other's data; use another service, or choose advisory fencing if there is never more than one writer")

// noETag is the ETag of no object.
const noETag = `"00000000000000000000000000000000"`

// Probe finds out whether the store honours conditions, with an object of
// node's own that it leaves behind for the next probe. Some services answer
// that they cannot; others ignore a condition in silence.
func (b *Bucket) Probe(ctx context.Context, node string) error {
	key := nodeFolder(b.name, node) + "probe"
	put := func(opts objstore.PutOptions) error {
		_, err := b.store.Put(ctx, key, strings.NewReader("DriftDB looks whether this object can be overwritten.\n"), opts)
		return err
	}
	err := put(objstore.PutOptions{IfAbsent: true})
	if err == nil { // it was not there; now it is
		err = put(objstore.PutOptions{IfAbsent: true})
	}
	if errors.Is(err, objstore.ErrPrecondition) {
		err = put(objstore.PutOptions{IfMatch: objstore.Matching(noETag)})
	}
	switch {
	case errors.Is(err, objstore.ErrPrecondition):
		return nil
	case err == nil:
		return ErrConditions
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("%w: %w", ErrConditions, err)
	}
	return fmt.Errorf("probe the store: %w", err)
}

// Advisory returns s for who has to do without conditions that are honoured:
// it looks before it writes. That finds a second writer most of the time, and
// not when both write at once.
func Advisory(s objstore.Store) objstore.Store { return advisory{s} }

type advisory struct{ objstore.Store }

func (a advisory) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if opts == (objstore.PutOptions{}) {
		return a.Store.Put(ctx, key, body, opts)
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
