package s3store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/driftdb/driftdb-go/objstore"
)

// Error is a failed request. It wraps only the sentinel that applies, see
// [objstore.Store]. It does not wrap the SDK's own errors, because one about a missing
// credentials file, for example, must not look like a missing object.
type Error struct {
	Op     string // such as "put" or "upload part 3"
	Bucket string
	Key    string // with the prefix
	// Status, Code and RequestID come from the server; they are zero if it did not
	// answer.
	Status    int
	Code      string
	RequestID string

	message string
	hint    string
	kind    error
}

// Error implements error. The text contains no secrets.
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

// Unwrap returns the sentinel, or nil if the error may be transient.
func (e *Error) Unwrap() error { return e.kind }

// failed describes the error of a request. absent is the error's kind if the server says
// that there is no such object.
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
	if page, ok := errors.AsType[*impostor](err); ok {
		e.Status, e.message = 0, page.Error()
		return e // without a kind: the store did not answer
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Code, e.message = api.ErrorCode(), api.ErrorMessage()
	} else if unsent, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		e.message = unsentMessage(unsent.Err)
		if dial, ok := errors.AsType[*net.OpError](unsent.Err); ok && dial.Op == "dial" {
			e.kind = objstore.ErrUnreachable
		}
	}
	e.classify(region, s.client.Options().Region)
	if e.hint == "" {
		e.hint = s.advice(e)
	}
	if e.kind == fs.ErrNotExist {
		e.kind = absent
	}
	return e
}

// unsentMessage describes why a request got no response. It leaves out what the SDK says
// about the missing response, and the URL, which repeats the bucket and the key.
func unsentMessage(err error) string {
	u, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err.Error()
	}
	message := u.Err.Error()
	if at, err := url.Parse(u.URL); err == nil && !strings.Contains(message, at.Host) {
		message = at.Host + ": " + message
	}
	return message
}

// classify sets the sentinel and the hint for the server's response. bucketRegion is the
// bucket's region if the server sent it.
func (e *Error) classify(bucketRegion, region string) {
	switch {
	case e.Status == 0:
		e.hint = "check the endpoint, the network, and that there are credentials"
	case bucketRegion != "" && bucketRegion != region && e.Status < 500 && e.Status != http.StatusForbidden,
		e.Status == http.StatusMovedPermanently:
		// There is no such bucket in this region.
		e.kind = objstore.ErrNoBucket
		e.hint = fmt.Sprintf("the bucket is not in region %s; set its own region", region)
		if bucketRegion != "" {
			e.hint = fmt.Sprintf("the bucket is in region %s, not %s; set that region", bucketRegion, region)
		}
	case e.byCode():
	case e.Status == http.StatusForbidden, e.Status == http.StatusUnauthorized:
		e.kind = fs.ErrPermission
	case e.Status == http.StatusNotModified:
		e.kind = objstore.ErrNotModified
	case e.Status == http.StatusPreconditionFailed:
		e.kind = objstore.ErrPrecondition
	case e.Status == http.StatusNotImplemented, e.Status == http.StatusMethodNotAllowed:
		e.kind = errors.ErrUnsupported
	}
}

// byCode is classify for codes that say more than the status.
func (e *Error) byCode() bool {
	switch e.Code {
	case "NoSuchKey":
		e.kind = fs.ErrNotExist
	case "NotFound":
		// The SDK's code for a 404 without a body, as for HEAD. Otherwise it comes from
		// something other than S3, perhaps a proxy, and says nothing about the object.
		if e.Op == "head" {
			e.kind = fs.ErrNotExist
		}
	case "InvalidAccessKeyId", "InvalidToken",
		"XAdminUserNotFound": // versitygw's InvalidAccessKeyId, with a 404
		e.kind = fs.ErrPermission
		e.hint = "check the credentials: the server does not know them"
	case "SignatureDoesNotMatch":
		e.kind = fs.ErrPermission
		e.hint = "check the credentials: the secret key is not that of the access key"
	case "NoSuchBucket", "InvalidBucketName":
		e.kind = objstore.ErrNoBucket
		e.hint = "create the bucket, or correct its name or the endpoint"
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		// The issuer may have new credentials at the next try.
	case "InvalidObjectState": // with a 403, although no permission is missing
		e.kind = fs.ErrPermission
		e.hint = "the object was moved to an archive, by a rule of the bucket perhaps; restore it from there to read it"
	case "AuthorizationHeaderMalformed": // usually because of the region in it
		e.kind = objstore.ErrNoBucket
		e.hint = "set the bucket's own region"
	case "RequestTimeTooSkewed":
		e.kind = fs.ErrPermission
		e.hint = "this machine's clock is wrong; set it"
	case "ConditionalRequestConflict", "OperationAborted":
		// Another write was under way; only the next try shows which one won.
	default:
		return false
	}
	return true
}

// advice returns what to do about an error if the server has not said so.
func (s *store) advice(e *Error) string {
	switch {
	case slices.Contains(outdated, e.Code) && s.ownKeys:
		return "the temporary credentials have expired, and the store was given no others; open it with new ones"
	case slices.Contains(outdated, e.Code):
		return "the temporary credentials have expired, and the AWS configuration has no others yet; renew them there"
	case e.Status == http.StatusUnauthorized:
		return "check the credentials"
	case e.kind != fs.ErrPermission:
		return ""
	case e.Code != "AccessDenied" && e.Code != "Forbidden": // the latter is the SDK's code for HEAD
		return "check the credentials and what their policy allows on this bucket"
	}
	return "check that the policy allows " + s.rights(e.Op)
}

// rights returns what a policy must allow for a request.
func (s *store) rights(op string) string {
	switch op {
	case "list":
		return "s3:ListBucket on the bucket"
	case "get", "head":
		return "s3:GetObject, and s3:ListBucket on the bucket: without that S3 answers 403, too, when a key is missing"
	case "delete":
		return "s3:DeleteObject"
	case "abort upload of":
		return "s3:AbortMultipartUpload"
	}
	switch {
	case s.extras.encryption == "":
		return "s3:PutObject; if the bucket's policy demands encryption, set ServerSideEncryption (in a URL: ?sse=aws:kms)"
	case s.extras.byKMS():
		return "s3:PutObject, and on the KMS key kms:GenerateDataKey and kms:Decrypt"
	}
	return "s3:PutObject"
}
