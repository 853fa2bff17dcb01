package s3store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/driftdb/driftdb-go/objstore"
)

// firstPart is the size up to which a body is sent in one request, and that of
// the first parts of a larger one.
const firstPart = 8 << 20

// partSize is the size of a part, by its number from 1. It doubles after each
// 1000 parts, so that the 10,000 that S3 allows hold its largest object, 5 TiB;
// memory stays at 8 MiB up to 8 GB, and at 64 MiB up to 120 GB.
func partSize(number int32) int64 { return firstPart << ((number - 1) / 1000) }

func (s *store) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if err := errors.Join(objstore.ValidKey(key), opts.Validate()); err != nil {
		return objstore.Info{}, fmt.Errorf("put in bucket %s: %w", s.bucket, err)
	}
	body = contextReader{ctx, body}
	var buf bytes.Buffer
	whole, err := fill(&buf, body, firstPart)
	if err != nil {
		return objstore.Info{}, s.bodyFailed(key, err)
	}
	if whole {
		return s.putWhole(ctx, key, buf.Bytes(), opts)
	}
	return s.putParts(ctx, key, &buf, body, opts)
}

// fill reads up to size bytes into buf. whole says that the body has ended.
func fill(buf *bytes.Buffer, body io.Reader, size int64) (whole bool, err error) {
	buf.Reset()
	_, err = io.CopyN(buf, body, size)
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

func (s *store) bodyFailed(key string, err error) error {
	return fmt.Errorf("put s3://%s/%s%s: read the body: %w", s.bucket, s.prefix, key, err)
}

func (s *store) putWhole(ctx context.Context, key string, body []byte, opts objstore.PutOptions) (objstore.Info, error) {
	in := &s3.PutObjectInput{Body: bytes.NewReader(body), ChecksumCRC32: s.checksum(body)}
	in.Bucket, in.Key = s.object(key)
	in.IfNoneMatch, in.IfMatch = conditions(opts)
	s.extras.toPut(in)
	out, err := s.client.PutObject(ctx, in)
	if err != nil {
		return objstore.Info{}, s.failed(ctx, "put", key, err, whenAbsent(opts))
	}
	return stored(key, int64(len(body)), out.ETag, out.ResultMetadata), nil
}

// conditions are the headers If-None-Match and If-Match.
func conditions(opts objstore.PutOptions) (noneMatch, match *string) {
	if opts.IfAbsent {
		noneMatch = aws.String("*")
	}
	if etag, ok := opts.IfMatch.ETag(); ok {
		match = aws.String(etag)
	}
	return noneMatch, match
}

// whenAbsent is what it means for a Put that there is no such object: Amazon's
// way to say that If-Match does not hold, and nothing without that.
func whenAbsent(opts objstore.PutOptions) error {
	if !opts.IfMatch.Holds("") {
		return objstore.ErrPrecondition
	}
	return nil
}

// checksum is the CRC-32 header of a body, or nil.
func (s *store) checksum(body []byte) *string {
	if !s.checksums {
		return nil
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body))
	return aws.String(base64.StdEncoding.EncodeToString(sum))
}

// stored is the Info of what was just written. S3 does not tell the time that
// it gives to the object, but that of its answer.
func stored(key string, size int64, etag *string, answer middleware.Metadata) objstore.Info {
	when, ok := awsmiddleware.GetServerTime(answer)
	if !ok {
		when = time.Now()
	}
	return objstore.Info{Key: key, Size: size, ETag: aws.ToString(etag), ModTime: when}
}

// contextReader makes reads fail once ctx has ended.
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
