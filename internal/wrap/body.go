package wrap

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/objstore"
)

// enough is how many bytes must arrive between two breaks for the second one to count as
// a first one again. A large object may break often, but a hopeless one must not continue
// byte by byte.
const enough = 1 << 20

// body is an object's body that resumes by range where it broke.
type body struct {
	ctx   context.Context // of the Get, for the requests that continue it
	store *store
	key   string
	etag  string

	part    io.ReadCloser // nil if there is none to read from
	next    int64         // offset in the object of the next byte
	left    int64         // bytes to come
	arrived int64         // since the last break
	tries   retry.Attempts
	broken  error // why the last part ended; nil while it has not
	err     error // final
}

func newBody(ctx context.Context, s *store, part io.ReadCloser, info objstore.Info, key string, opts objstore.GetOptions) *body {
	left := max(0, info.Size-opts.Offset)
	if opts.Length > 0 {
		left = min(left, opts.Length)
	}
	return &body{ctx: ctx, store: s, key: key, etag: info.ETag, part: part, next: opts.Offset, left: left, tries: retry.Attempts{Policy: s.policy}}
}

func (b *body) Read(p []byte) (int, error) {
	for {
		if b.err == nil && b.broken != nil {
			b.err = b.resume()
		}
		if b.err != nil {
			return 0, b.err
		}
		n, err := b.part.Read(p)
		b.next += int64(n)
		b.left -= int64(n)
		b.arrived += int64(n)
		b.note(err)
		if n > 0 || err == nil || b.err != nil {
			return n, b.err
		}
	}
}

// note classifies the error of a part: the end, a break to resume after, or final.
func (b *body) note(err error) {
	switch {
	case err == nil:
	case err == io.EOF && b.left > 0:
		b.broken = io.ErrUnexpectedEOF
	case err == io.EOF:
		b.err = io.EOF
	case b.left <= 0:
		b.err = err // all bytes have arrived; the error says that they are wrong
	default:
		b.broken = err
	}
}

// resume opens the rest of the object, retrying under the policy.
func (b *body) resume() error {
	if b.arrived >= enough {
		b.tries = retry.Attempts{Policy: b.store.policy}
	}
	b.arrived = 0
	_ = b.closePart() // it broke already; its error adds nothing
	for {
		if err := b.tries.Again(b.ctx, b.broken); err != nil {
			return fmt.Errorf("get %q: the body ended early at byte %d: %w", b.key, b.next, err)
		}
		part, info, err := b.store.inner.Get(b.ctx, b.key, objstore.GetOptions{Offset: b.next, Length: b.left})
		if err != nil {
			b.broken = err
			continue
		}
		b.part = part
		if info.ETag != b.etag {
			return fmt.Errorf("%w: %q", retry.ErrChanged, b.key)
		}
		b.broken = nil
		return nil
	}
}

func (b *body) closePart() error {
	if b.part == nil {
		return nil
	}
	err := b.part.Close()
	b.part = nil
	return err
}

var errBodyClosed = errors.New("read of a closed body")

// Close closes the part that is open. It does not report a break that Read has already
// reported or recovered from.
func (b *body) Close() error {
	if b.err == nil || b.err == io.EOF {
		b.err = errBodyClosed
	}
	return b.closePart()
}
