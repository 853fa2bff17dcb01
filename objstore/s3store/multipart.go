package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/driftdb/driftdb-go/objstore"
)

const (
	// partTries is how often to try each request of an upload in parts: starting over
	// would cost more, and the body cannot be read twice.
	partTries = 4
	// firstPause is the pause before the second try; it doubles.
	firstPause = 250 * time.Millisecond
	// abortTimeout bounds cleaning up after a failed upload.
	abortTimeout = 30 * time.Second
)

// upload is an upload in parts.
type upload struct {
	*store
	key   string
	opts  objstore.PutOptions
	id    *string
	parts []types.CompletedPart
	size  int64
}

// putParts uploads what is in buf and the rest of body in parts.
func (s *store) putParts(ctx context.Context, key string, buf *bytes.Buffer, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	u := &upload{store: s, key: key, opts: opts}
	if err := u.create(ctx); err != nil {
		return objstore.Info{}, err
	}
	info, err := u.finish(ctx, buf, body)
	if err == nil {
		return info, nil
	}
	if abortErr := u.abort(ctx); abortErr != nil {
		return objstore.Info{}, fmt.Errorf("%w (its parts, upload %s, could not be removed and cost storage until a lifecycle rule removes them: %v)",
			err, aws.ToString(u.id), abortErr)
	}
	return objstore.Info{}, err
}

func (u *upload) create(ctx context.Context) error {
	in := &s3.CreateMultipartUploadInput{}
	in.Bucket, in.Key = u.object(u.key)
	if u.checksums {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32
	}
	u.extras.toUpload(in)
	return u.try(ctx, "create upload", func() error {
		out, err := u.client.CreateMultipartUpload(ctx, in)
		if err == nil {
			u.id = out.UploadId
		}
		return err
	})
}

// finish sends all parts and completes the upload.
func (u *upload) finish(ctx context.Context, buf *bytes.Buffer, body io.Reader) (objstore.Info, error) {
	for number, whole := int32(1), false; ; number++ {
		if err := u.part(ctx, number, buf.Bytes()); err != nil {
			return objstore.Info{}, err
		}
		if whole {
			break
		}
		var err error
		if whole, err = fill(buf, body, partSize(number+1)); err != nil {
			return objstore.Info{}, u.bodyFailed(u.key, err)
		}
		if whole && buf.Len() == 0 {
			break
		}
	}
	return u.complete(ctx)
}

func (u *upload) part(ctx context.Context, number int32, body []byte) error {
	in := &s3.UploadPartInput{UploadId: u.id, PartNumber: aws.Int32(number), ChecksumCRC32: u.checksum(body)}
	in.Bucket, in.Key = u.object(u.key)
	return u.try(ctx, fmt.Sprintf("upload part %d of", number), func() error {
		in.Body = bytes.NewReader(body)
		out, err := u.client.UploadPart(ctx, in)
		if err == nil {
			u.parts = append(u.parts, types.CompletedPart{ETag: out.ETag, PartNumber: in.PartNumber, ChecksumCRC32: in.ChecksumCRC32})
			u.size += int64(len(body))
		}
		return err
	})
}

func (u *upload) complete(ctx context.Context) (info objstore.Info, err error) {
	in := &s3.CompleteMultipartUploadInput{
		UploadId:        u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	}
	in.Bucket, in.Key = u.object(u.key)
	in.IfNoneMatch, in.IfMatch = conditions(u.opts)
	err = u.try(ctx, "complete upload of", func() error {
		out, err := u.client.CompleteMultipartUpload(ctx, in)
		if err == nil {
			info = stored(u.key, u.size, out.ETag, out.ResultMetadata)
		}
		return err
	})
	if err == nil {
		err = u.prove(ctx, info)
	}
	return info, err
}

// abort removes the parts. It works even if ctx has ended, since that may be the reason.
func (u *upload) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	in := &s3.AbortMultipartUploadInput{UploadId: u.id}
	in.Bucket, in.Key = u.object(u.key)
	err := u.try(ctx, "abort upload of", func() error {
		_, err := u.client.AbortMultipartUpload(ctx, in)
		return err
	})
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound {
		return nil // the upload was completed after all, or another process has cleaned up
	}
	return err
}

// try repeats a request until it succeeds, fails permanently, or has failed partTries
// times.
func (u *upload) try(ctx context.Context, op string, request func() error) error {
	pause := firstPause
	for n := 1; ; n++ {
		err := request()
		if err == nil {
			return nil
		}
		e := u.failed(ctx, op, u.key, err, whenAbsent(u.opts))
		// A 409 asks for a new upload; so does a 404, because the upload is gone.
		again := e.kind == nil && (e.Status == 0 || e.Status >= 500 || e.Status == http.StatusTooManyRequests)
		if !again || n == partTries {
			return e
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return u.failed(ctx, op, u.key, err, whenAbsent(u.opts))
		}
		pause *= 2
	}
}
