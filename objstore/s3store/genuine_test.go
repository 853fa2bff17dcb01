package s3store

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/objstore"
)

// answers are what something between a program and its store may say in its place,
// to whatever request.
var answers = map[string]func(r *http.Response){
	"a page": func(r *http.Response) {
		say(r, 200, "text/html; charset=utf-8", "<html><body>Please log in</body></html>")
	},
	"a page, refusing": func(r *http.Response) { say(r, 403, "text/html", "<html>blocked</html>") },
	"a page, missing":  func(r *http.Response) { say(r, 404, "text/html", "<html>nothing here</html>") },
	"nothing":          func(r *http.Response) { say(r, 200, "", "") },
	"no content":       func(r *http.Response) { say(r, 204, "", "") },
	"not modified":     func(r *http.Response) { say(r, 304, "", "") },
	"text":             func(r *http.Response) { say(r, 200, "text/plain", "ok") },
	"JSON":             func(r *http.Response) { say(r, 200, "application/json", `{"ok":true}`) },
	"other XML":        func(r *http.Response) { say(r, 200, "application/xml", "<?xml version=\"1.0\"?><ok/>") },
}

func say(r *http.Response, status int, kind, body string) {
	r.StatusCode, r.Status = status, http.StatusText(status)
	r.Header = http.Header{}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// TestImpostors: no answer that is not a store's own is taken for success, nor for
// its word that an object is not there or may not be read.
func TestImpostors(t *testing.T) {
	s := newStore(t, config(t, s3test.Start(t)))
	large := bytes.Repeat([]byte("0123456789abcdef"), firstPart/16+1)
	if err := putString(t.Context(), s, "there", "body", objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(ctx context.Context, s *store) error{
		"put": func(ctx context.Context, s *store) error {
			return putString(ctx, s, "k", "body", objstore.PutOptions{})
		},
		"create": func(ctx context.Context, s *store) error {
			return putString(ctx, s, "k", "body", objstore.PutOptions{IfAbsent: true})
		},
		"put in parts": func(ctx context.Context, s *store) error {
			_, err := s.Put(ctx, "l", bytes.NewReader(large), objstore.PutOptions{})
			return err
		},
		"get": func(ctx context.Context, s *store) error { return getErr(ctx, s, "there") },
		"get range": func(ctx context.Context, s *store) error {
			return drain(s.Get(ctx, "there", objstore.GetOptions{Offset: 1}))
		},
		"list": func(ctx context.Context, s *store) error {
			for _, err := range s.List(ctx, "", objstore.ListOptions{}) {
				return err
			}
			return nil
		},
	}
	for what, answer := range answers {
		for op, call := range calls {
			if op == "put in parts" && what != "a page" && what != "nothing" && what != "other XML" {
				continue // it waits before each retry
			}
			t.Run(op+" "+what, func(t *testing.T) {
				t.Parallel()
				// The first request; and of an upload in parts each kind.
				for _, method := range []string{"", "uploads", "partNumber", "uploadId"} {
					if method != "" && op != "put in parts" {
						continue
					}
					s := *s
					said := false
					tap(&s, func(_ int, r *http.Request, send sender) (*http.Response, error) {
						resp, err := send()
						if err == nil && !said && (method == "" || r.URL.Query().Has(method)) {
							said = true
							_ = resp.Body.Close()
							answer(resp)
						}
						return resp, err
					})
					err := call(t.Context(), &s)
					if op == "put in parts" { // each of its requests is made again
						if err != nil && !strings.Contains(err.Error(), "NoSuchUpload") && !strings.Contains(err.Error(), "304") {
							t.Errorf("%s: %v", method, err)
						}
						continue
					}
					wantKind(t, op, err, nil)
				}
			})
		}
	}
}

func drain(r io.ReadCloser, _ objstore.Info, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	_ = r.Close()
	return err
}

// TestImpostorMessage: it says what has happened, and what to look for.
func TestImpostorMessage(t *testing.T) {
	s := newStore(t, config(t, s3test.Start(t)))
	tap(s, func(_ int, r *http.Request, send sender) (*http.Response, error) {
		resp, err := send()
		if err == nil {
			answers["a page"](resp)
		}
		return resp, err
	})
	err := putString(t.Context(), s, "k", "body", objstore.PutOptions{})
	for _, want := range []string{"200, text/html", "captive portal", "put s3://", "k: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}
