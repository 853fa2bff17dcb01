package s3store

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// wire stands between the SDK and the network: it keeps every request, and fn
// decides what becomes of the nth (from 1). A nil fn passes all of them on.
type wire struct {
	next s3.HTTPClient
	fn   func(n int, r *http.Request, send func() (*http.Response, error)) (*http.Response, error)

	mu       sync.Mutex
	requests []*http.Request
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.requests = append(w.requests, r)
	n := len(w.requests)
	w.mu.Unlock()
	send := func() (*http.Response, error) { return w.next.Do(r) }
	if w.fn == nil {
		return send()
	}
	return w.fn(n, r, send)
}

// tap puts a wire into a store.
func tap(s *store, fn func(n int, r *http.Request, send func() (*http.Response, error)) (*http.Response, error)) *wire {
	w := &wire{next: s.client.Options().HTTPClient, fn: fn}
	s.client = s3.New(s.client.Options(), func(o *s3.Options) { o.HTTPClient = w })
	return w
}

// answer makes up the server's answer to a request.
func answer(r *http.Request, status int, body string, header ...string) *http.Response {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	resp := &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"X-Amz-Request-Id": {"REQ42"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// refusal is an answer with one of S3's error codes; HEAD has no body for it.
func refusal(r *http.Request, status int, code string, header ...string) *http.Response {
	body := ""
	if r.Method != http.MethodHead && code != "" {
		body = fmt.Sprintf(`<?xml version="1.0"?><Error><Code>%s</Code><Message>the server's message</Message></Error>`, code)
	}
	return answer(r, status, body, header...)
}

// offline is a store whose every request is answered by fn.
func offline(t *testing.T, fn func(n int, r *http.Request) *http.Response) (*store, *wire) {
	t.Helper()
	s := newStore(t, Config{
		Bucket: "the-bucket", Region: "eu-west-1", Endpoint: "http://127.0.0.1:1",
		AccessKeyID: "AKIAID", SecretAccessKey: "the-secret", SessionToken: "the-token",
	})
	w := tap(s, func(n int, r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		return fn(n, r), nil
	})
	return s, w
}
