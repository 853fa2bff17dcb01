package wrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// silence is how long a store may stay silent before its next answer is doubted.
const silence = 5 * time.Minute

// Doubting returns s for a program whose network may change between two requests: to a
// captive portal, say, or a proxy with a cache. An answer to a Put without an ETag counts
// as none. After a failure, or after silence, a Put succeeds only once the object that it
// stored has been looked at; the object may then exist although Put fails.
func Doubting(s objstore.Store) objstore.Store { return &doubting{Store: s} }

type doubting struct {
	objstore.Store

	mu     sync.Mutex
	proven time.Time // when the store last proved to be there, by the monotonic clock; zero: not since the last failure
}

// Unwrap returns the store below; see objstore.Watch.
func (d *doubting) Unwrap() objstore.Store { return d.Store }

func (d *doubting) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	info, err := d.Store.Put(ctx, key, body, opts)
	if err == nil && info.ETag == "" {
		err = fmt.Errorf("put %q: the store returned no ETag, so nothing proves that it has the object", key)
	}
	if err == nil && d.doubts() {
		err = d.look(ctx, info)
	}
	d.note(err)
	return info, err
}

func (d *doubting) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	body, info, err := d.Store.Get(ctx, key, opts)
	d.note(err)
	return body, info, err
}

// look compares what the store has with what it claims to have stored.
func (d *doubting) look(ctx context.Context, put objstore.Info) error {
	body, got, err := d.Store.Get(ctx, put.Key, objstore.GetOptions{Length: 1})
	if errors.Is(err, fs.ErrNotExist) { // a transient error, so that it is put again
		return fmt.Errorf("put %q: the store confirmed the object but does not have it", put.Key)
	}
	if err != nil {
		return fmt.Errorf("check an object that was just stored: %w", err)
	}
	if err := body.Close(); err != nil {
		return err
	}
	if got.Size != put.Size || got.ETag != put.ETag {
		// Or another writer has replaced it meanwhile; its readers will find out.
		return fmt.Errorf("put %q: %w: the store confirmed %d bytes as %s but has %d bytes as %s",
			put.Key, objstore.ErrPrecondition, put.Size, put.ETag, got.Size, got.ETag)
	}
	return nil
}

func (d *doubting) doubts() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.proven.IsZero() || time.Since(d.proven) > silence
}

// note records how a request ended. An answer that only the store itself gives, such as
// that a condition does not hold, proves its presence as well as success does.
func (d *doubting) note(err error) {
	proof := err == nil || errors.Is(err, objstore.ErrPrecondition) || errors.Is(err, objstore.ErrNotModified) || errors.Is(err, fs.ErrNotExist)
	d.mu.Lock()
	defer d.mu.Unlock()
	if proof {
		d.proven = time.Now()
	} else {
		d.proven = time.Time{}
	}
}
