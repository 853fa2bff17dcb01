package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/driftdb/driftdb-go/objstore"
)

func (s *store) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	if err := errors.Join(objstore.ValidKey(key), opts.Validate()); err != nil {
		return nil, objstore.Info{}, fmt.Errorf("get from bucket %s: %w", s.bucket, err)
	}
	in := &s3.GetObjectInput{Range: rangeHeader(opts)}
	if opts.IfNoneMatch != "" {
		in.IfNoneMatch = aws.String(opts.IfNoneMatch)
	}
	in.Bucket, in.Key = s.object(key)
	if s.checksums && in.Range == nil { // some servers send the whole object's checksum with a range
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		e := s.failed(ctx, "get", key, err, fs.ErrNotExist)
		if page, ok := errors.AsType[*impostor](err); ok && page.status == http.StatusNotModified && opts.IfNoneMatch != "" {
			opts.IfNoneMatch = "" // whoever has answered: the object itself is proof
			return s.Get(ctx, key, opts)
		}
		if e.Status == http.StatusRequestedRangeNotSatisfiable {
			return s.getNothing(ctx, key)
		}
		return nil, objstore.Info{}, e
	}
	return s.opened(ctx, key, opts, out)
}

// rangeHeader returns nil for a whole object. The SDK verifies the checksum of a whole
// object, but cannot verify that of a range.
func rangeHeader(opts objstore.GetOptions) *string {
	switch {
	case opts.Length > 0:
		return aws.String(fmt.Sprintf("bytes=%d-%d", opts.Offset, opts.Offset+opts.Length-1))
	case opts.Offset > 0:
		return aws.String(fmt.Sprintf("bytes=%d-", opts.Offset))
	}
	return nil
}

// getNothing answers a Get past the end of the object.
func (s *store) getNothing(ctx context.Context, key string) (io.ReadCloser, objstore.Info, error) {
	info, err := s.head(ctx, key)
	if err != nil {
		return nil, objstore.Info{}, err
	}
	return io.NopCloser(bytes.NewReader(nil)), info, nil
}

// head returns the store's description of an object.
func (s *store) head(ctx context.Context, key string) (objstore.Info, error) {
	in := &s3.HeadObjectInput{}
	in.Bucket, in.Key = s.object(key)
	out, err := s.client.HeadObject(ctx, in)
	if err != nil {
		return objstore.Info{}, s.failed(ctx, "head", key, err, fs.ErrNotExist)
	}
	return objstore.Info{Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), ModTime: aws.ToTime(out.LastModified)}, nil
}

// opened turns the response to a Get into the part that was requested.
func (s *store) opened(ctx context.Context, key string, opts objstore.GetOptions, out *s3.GetObjectOutput) (io.ReadCloser, objstore.Info, error) {
	info := objstore.Info{Key: key, ETag: aws.ToString(out.ETag), ModTime: aws.ToTime(out.LastModified)}
	b := &body{store: s, ctx: ctx, key: key, in: out.Body}
	skip := int64(0)
	var err error
	switch {
	case out.ContentLength == nil:
		err = errors.New("the response has no Content-Length, so its end cannot be told from a broken connection; does a proxy change it?")
	case aws.ToString(out.ContentRange) != "":
		b.left = *out.ContentLength
		info.Size, err = totalSize(*out.ContentRange, opts.Offset)
	default:
		// The whole object, either as requested or from a server that ignores ranges,
		// which it may.
		info.Size = *out.ContentLength
		skip = min(opts.Offset, info.Size)
		b.left = info.Size
	}
	if err == nil && skip > 0 {
		_, err = io.CopyN(io.Discard, b, skip)
	}
	if err != nil {
		return nil, objstore.Info{}, errors.Join(s.failed(ctx, "get", key, err, nil), out.Body.Close())
	}
	if opts.Length > 0 {
		b.want(opts.Length)
	}
	return b, info, nil
}

// totalSize parses the size of the object from "bytes 3-6/10".
func totalSize(contentRange string, offset int64) (int64, error) {
	span, total, _ := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil || first != strconv.FormatInt(offset, 10) {
		return 0, fmt.Errorf("the response has a different range than requested: %q", contentRange)
	}
	return size, nil
}

// body is the body of a response. It ends with io.EOF when it is complete, and with an
// error when it was cut off.
type body struct {
	store *store
	ctx   context.Context
	key   string
	in    io.ReadCloser
	left  int64 // bytes that must still come
	spare int64 // bytes after those, which are not wanted
}

func (b *body) want(n int64) {
	if n < b.left {
		b.spare, b.left = b.left-n, n
	}
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 && b.spare > 0 {
		return 0, io.EOF
	}
	if b.spare > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.in.Read(p)
	b.left -= int64(n)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF && b.left <= 0:
		return n, io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, b.broken(err)
}

func (b *body) broken(err error) error {
	if b.ctx.Err() != nil {
		err = b.ctx.Err()
	}
	return fmt.Errorf("read s3://%s/%s%s: %w", b.store.bucket, b.store.prefix, b.key, err)
}

func (b *body) Close() error { return b.in.Close() }

func (s *store) Delete(ctx context.Context, key string) error {
	if err := objstore.ValidKey(key); err != nil {
		return fmt.Errorf("delete from bucket %s: %w", s.bucket, err)
	}
	in := &s3.DeleteObjectInput{}
	in.Bucket, in.Key = s.object(key)
	if _, err := s.client.DeleteObject(ctx, in); err != nil {
		if e := s.failed(ctx, "delete", key, err, fs.ErrNotExist); e.kind != fs.ErrNotExist {
			return e
		}
	}
	return nil
}
