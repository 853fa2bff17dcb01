package objstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// withContext makes reads fail once ctx has ended.
func withContext(ctx context.Context, r io.Reader) io.Reader {
	return contextReader{ctx, r}
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// fullReader turns an end that comes too early into an error. A file that
// somebody else cuts while it is read would otherwise look complete.
type fullReader struct {
	r    io.Reader
	left int64
}

func (f *fullReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.left -= int64(n)
	if err == io.EOF && f.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// eTag computes the ETag that Dir and Mem give to content.
type eTag struct{ hash.Hash }

func newETag() eTag { return eTag{sha256.New()} }

// String cuts the hash to 128 bits, which is plenty and keeps conditions short.
func (e eTag) String() string { return hex.EncodeToString(e.Sum(nil)[:16]) }
