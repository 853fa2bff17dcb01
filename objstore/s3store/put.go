package s3store

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/driftdb/driftdb-go/objstore"
)

// firstPart is the largest body that is sent in one request, and the size of the first
// parts of a larger one.
const firstPart = 8 << 20

// partSize returns the size of a part by its number, from 1. It doubles after each 1000
// parts, so that the 10,000 parts that S3 allows hold its largest object, 5 TiB. A part
// takes 8 MiB of memory up to 8 GB, and 64 MiB up to 120 GB.
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
	if whole && !opts.InParts {
		return s.putWhole(ctx, key, buf.Bytes(), opts)
	}
	return s.putParts(ctx, key, &buf, body, opts)
}

// fill reads up to size bytes into buf. whole is true if the body has ended.
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
	info := stored(key, int64(len(body)), out.ETag, out.ResultMetadata)
	if in.ChecksumCRC32 != nil && aws.ToString(out.ChecksumCRC32) == *in.ChecksumCRC32 || isMD5(info.ETag, body) {
		return info, nil
	}
	return info, s.prove(ctx, info)
}

// isMD5 reports whether the ETag is the MD5 of the body, as it usually is. Only a server
// that has read the body can send that.
func isMD5(etag string, body []byte) bool {
	if fips140.Enabled() {
		return false // MD5 may not be used
	}
	sum := md5.Sum(body)
	return strings.Trim(etag, `"`) == hex.EncodeToString(sum[:])
}

// prove checks that an object was really stored, for a response that does not prove it
// itself: any server between here and the store could have sent that response.
func (s *store) prove(ctx context.Context, put objstore.Info) error {
	there, err := s.head(ctx, put.Key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("the store confirmed the object but does not have it")
	case err != nil:
		return err
	case there.Size != put.Size || there.ETag != put.ETag:
		err = fmt.Errorf("the store confirmed %d bytes as %s but has %d bytes as %s", put.Size, put.ETag, there.Size, there.ETag)
	default:
		return nil
	}
	return &Error{Op: "put", Bucket: s.bucket, Key: s.prefix + put.Key, message: err.Error()}
}

// conditions returns the headers If-None-Match and If-Match.
func conditions(opts objstore.PutOptions) (noneMatch, match *string) {
	if opts.IfAbsent {
		noneMatch = aws.String("*")
	}
	if etag, ok := opts.IfMatch.ETag(); ok {
		match = aws.String(etag)
	}
	return noneMatch, match
}

// whenAbsent returns what "no such object" means as the response to a Put: with IfMatch it
// is Amazon's way to say that the condition does not hold; without, it means nothing.
func whenAbsent(opts objstore.PutOptions) error {
	if !opts.IfMatch.Holds("") {
		return objstore.ErrPrecondition
	}
	return nil
}

// checksum returns the CRC-32 header of a body, or nil.
func (s *store) checksum(body []byte) *string {
	if !s.checksums {
		return nil
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body))
	return aws.String(base64.StdEncoding.EncodeToString(sum))
}

// stored returns the Info of the object just written. S3 does not return the object's
// time, so the time of the response stands in.
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
