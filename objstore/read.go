package objstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"
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

// fullReader turns an early end into an error. Otherwise a file that another process
// truncates during reading would look complete.
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

// fileBody is the body of a Get of Dir. It closes its file at the end of the content, not
// only in Close. On Windows, some file systems do not let an open file be replaced, and
// this way a caller that has read an object to its end can replace it before closing the
// body.
type fileBody struct {
	fullReader
	file  *os.File
	ended bool
}

func (b *fileBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.fullReader.Read(p)
	if b.left == 0 && (err == nil || err == io.EOF) {
		b.ended = true
		if err = b.file.Close(); err == nil {
			err = io.EOF
		}
	}
	return n, err
}

func (b *fileBody) Close() error {
	if b.ended {
		return nil
	}
	return b.file.Close()
}

// eTag computes the ETags of Dir and Mem.
type eTag struct{ hash.Hash }

func newETag() eTag { return eTag{sha256.New()} }

// String truncates the hash to 128 bits, which is plenty and keeps conditions short.
func (e eTag) String() string { return hex.EncodeToString(e.Sum(nil)[:16]) }
