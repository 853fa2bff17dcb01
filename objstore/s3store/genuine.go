package s3store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A response does not always come from the store: the page of a captive portal, or a
// proxy's error page, may also have status 200, and the SDK would read it as a stored
// object or an empty bucket. So a response counts only if it has what the store's own
// response must have.

// impostor is a response that did not come from an object store. It says nothing about the
// object, and the next response may be genuine.
type impostor struct {
	status  int
	kind    string // the media type
	missing string // what the response should have had
}

func (e *impostor) Error() string {
	what := fmt.Sprintf("%d", e.status)
	if e.kind != "" {
		what += ", " + e.kind
	}
	return fmt.Sprintf("the answer (%s) is not that of an object store: %s; has a captive portal, a proxy or a web server answered in its place?", what, e.missing)
}

// genuine checks the response to every request before the SDK reads it.
func genuine(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("DriftDBGenuine",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleDeserialize(ctx, in)
			if err != nil {
				return out, meta, err
			}
			if answer, ok := out.RawResponse.(*smithyhttp.Response); ok {
				err = doubt(awsmiddleware.GetOperationName(ctx), condition(in.Request), answer)
			}
			return out, meta, err
		}), middleware.After) // closest to the wire
}

// roots are the root elements of successful responses' bodies. Completing an upload may
// still report a failure with status 200.
var roots = map[string][]string{
	"CreateMultipartUpload":   {"InitiateMultipartUploadResult"},
	"CompleteMultipartUpload": {"CompleteMultipartUploadResult", "Error"},
	"ListObjectsV2":           {"ListBucketResult"},
}

// tagged are the operations whose successful responses carry the object's ETag.
var tagged = map[string]bool{"PutObject": true, "UploadPart": true, "GetObject": true, "HeadObject": true}

// condition returns the ETag that a conditional read was made with, or "".
func condition(request any) string {
	if r, ok := request.(*smithyhttp.Request); ok {
		return r.Header.Get("If-None-Match")
	}
	return ""
}

// redirects are the statuses with which portals send a browser to their page, and the one
// that answers only a conditional read, see unchanged. A store whose bucket is elsewhere sends
// 301 or 307.
var redirects = map[int]bool{http.StatusFound: true, http.StatusSeeOther: true, http.StatusNotModified: true}

// unchanged reports whether the store itself says that an object still has this ETag. Its
// answer, other than one out of a cache, repeats the ETag or, with some stores, has none but a
// request ID.
func unchanged(etag string, answer http.Header) bool {
	said := answer.Get("ETag")
	return said == etag || said == "" && answer.Get("X-Amz-Request-Id") != ""
}

// doubt returns an error if the response cannot come from a store. etag is what the request
// was conditional on.
func doubt(op, etag string, answer *smithyhttp.Response) error {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	e := &impostor{status: answer.StatusCode, kind: kind}
	switch {
	case answer.StatusCode == http.StatusNotModified && etag != "" && unchanged(etag, answer.Header):
		return nil
	case kind == "text/html" && answer.ContentLength != 0: // some stores send this type with an empty body
		e.missing = "it is a page for people"
	case redirects[answer.StatusCode]:
		e.missing = "it sends the program elsewhere, or to a copy of its own"
	case answer.StatusCode >= 300:
		return nil // the SDK reads the error and its code
	case answer.StatusCode != http.StatusOK && op != "DeleteObject" && op != "AbortMultipartUpload" &&
		(op != "GetObject" || answer.StatusCode != http.StatusPartialContent):
		e.missing = "no store answers this request with that status"
	case tagged[op] && strings.Trim(answer.Header.Get("ETag"), `"`) == "":
		e.missing = "it has no ETag"
	case roots[op] != nil && !begins(answer, roots[op]):
		e.missing = "it has no " + roots[op][0]
	default:
		return nil
	}
	_ = answer.Body.Close()
	return e
}

// peeked is how many bytes of a body are examined to find its root element.
const peeked = 1024

// begins reports whether the body is an XML document with one of these root elements, and
// leaves the body unread. It skips the blanks that a store sends first to keep the
// connection alive.
func begins(answer *smithyhttp.Response, elements []string) bool {
	r := bufio.NewReaderSize(answer.Body, peeked)
	for {
		c, err := r.ReadByte()
		if err != nil {
			break
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			_ = r.UnreadByte()
			break
		}
	}
	head, _ := r.Peek(peeked)
	answer.Body = peekedBody{r, answer.Body}
	for _, e := range elements {
		if bytes.Contains(head, []byte("<"+e)) {
			return true
		}
	}
	return false
}

type peekedBody struct {
	io.Reader
	io.Closer
}
