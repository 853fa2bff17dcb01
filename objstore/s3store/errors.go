package s3store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/driftdb/driftdb-go/objstore"
)

// Error is a request that failed. It wraps the sentinel that applies, see
// [objstore.Store], and nothing else: what the SDK ran into on the way, such as
// a missing credentials file, must not be taken for a missing object.
type Error struct {
	Op     string // such as "put" or "upload part 3"
	Bucket string
	Key    string // with the prefix
	// Status, Code and RequestID are the server's; zero if it did not answer.
	Status    int
	Code      string
	RequestID string

	message string
	hint    string
	kind    error
}

// Error implements error. The text holds no secrets.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s s3://%s/%s: ", e.Op, e.Bucket, e.Key)
	if e.kind != nil {
		fmt.Fprintf(&b, "%v: ", e.kind)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d %s: ", e.Status, e.Code)
	}
	b.WriteString(e.message)
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request %s)", e.RequestID)
	}
	if e.hint != "" {
		fmt.Fprintf(&b, "; %s", e.hint)
	}
	return b.String()
}

// Unwrap returns the sentinel, or nil for an error that may be transient.
func (e *Error) Unwrap() error { return e.kind }

// failed describes the error of a request. absent is the kind of error that it
// is when the server says that there is no such object.
func (s *store) failed(ctx context.Context, op, key string, err, absent error) *Error {
	e := &Error{Op: op, Bucket: s.bucket, Key: s.prefix + key, message: err.Error()}
	if ctx.Err() != nil {
		e.kind, e.message = ctx.Err(), "the request was given up"
		return e
	}
	region := ""
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok && answer.Response != nil {
		e.Status, e.RequestID = answer.HTTPStatusCode(), answer.ServiceRequestID()
		region = answer.Response.Header.Get("X-Amz-Bucket-Region")
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Code, e.message = api.ErrorCode(), api.ErrorMessage()
	} else if unsent, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		e.message = unsent.Err.Error() // without what the SDK says of an answer that never came
	}
	e.classify(region, s.client.Options().Region)
	if e.kind == fs.ErrNotExist {
		e.kind = absent
	}
	return e
}

// classify finds the sentinel and the advice that belong to the server's
// answer. bucketRegion is the bucket's if the server told it.
func (e *Error) classify(bucketRegion, region string) {
	switch {
	case e.Status == 0:
		e.hint = "check the endpoint, the network, and that there are credentials"
	case bucketRegion != "" && bucketRegion != region && e.Status < 500 && e.Status != http.StatusForbidden,
		e.Status == http.StatusMovedPermanently:
		// In this region, that is.
		e.kind = objstore.ErrNoBucket
		e.hint = fmt.Sprintf("the bucket is not in region %s; set its own region", region)
		if bucketRegion != "" {
			e.hint = fmt.Sprintf("the bucket is in region %s, not %s; set that region", bucketRegion, region)
		}
	case e.byCode():
	case e.Status == http.StatusForbidden, e.Status == http.StatusUnauthorized:
		e.kind = fs.ErrPermission
		e.hint = "check the credentials and what their policy allows on this bucket"
	case e.Status == http.StatusPreconditionFailed:
		e.kind = objstore.ErrPrecondition
	case e.Status == http.StatusNotImplemented, e.Status == http.StatusMethodNotAllowed:
		e.kind = errors.ErrUnsupported
	}
}

// byCode is classify for the codes that say more than the status.
func (e *Error) byCode() bool {
	switch e.Code {
	case "NoSuchKey":
		e.kind = fs.ErrNotExist
	case "NotFound":
		// The SDK's word for a 404 without a body, as HEAD has. Any other comes
		// from something that is no S3, a proxy perhaps, and says nothing about
		// the object.
		if e.Op == "head" {
			e.kind = fs.ErrNotExist
		}
	case "XAdminUserNotFound": // versitygw's InvalidAccessKeyId, with a 404
		e.kind = fs.ErrPermission
	case "NoSuchBucket", "InvalidBucketName":
		e.kind = objstore.ErrNoBucket
		e.hint = "create the bucket, or correct its name or the endpoint"
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		// The credential chain fetches new ones for the next try.
		e.hint = "the temporary credentials have expired"
	case "RequestTimeTooSkewed":
		e.kind = fs.ErrPermission
		e.hint = "this machine's clock is wrong; set it"
	case "ConditionalRequestConflict", "OperationAborted":
		// Another write was under way; only the next try tells who won.
	default:
		return false
	}
	return true
}
