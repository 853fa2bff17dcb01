package s3store

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/objstore"
)

// What a portal or a proxy answers in the store's place is no answer: an error that
// may pass, and says what it is.
func TestImpostorsOfEachKind(t *testing.T) {
	html := "<html><body>Please log in to the hotel's wireless network</body></html>"
	answers := map[string]func(r *http.Request) *http.Response{
		"a page": func(r *http.Request) *http.Response { return answer(r, 200, html, "Content-Type", "text/html") },
		"a page, ETag": func(r *http.Request) *http.Response {
			return answer(r, 200, html, "Content-Type", "text/html; charset=utf-8", "Etag", `"e"`)
		},
		"a forbidding page": func(r *http.Request) *http.Response { return answer(r, 403, html, "Content-Type", "text/html") },
		"a missing page":    func(r *http.Request) *http.Response { return answer(r, 404, html, "Content-Type", "text/html") },
		"a condition":       func(r *http.Request) *http.Response { return answer(r, 412, html, "Content-Type", "text/html") },
		"redirected":        func(r *http.Request) *http.Response { return answer(r, 302, "", "Location", "http://portal.example/") },
		"not modified":      func(r *http.Request) *http.Response { return answer(r, 304, "") },
		"nothing":           func(r *http.Request) *http.Response { return answer(r, 200, "") },
		"no content":        func(r *http.Request) *http.Response { return answer(r, 204, "") },
		"no XML of S3":      func(r *http.Request) *http.Response { return answer(r, 200, "<?xml version=\"1.0\"?><wispr/>") },
	}
	for name, reply := range answers {
		t.Run(name, func(t *testing.T) {
			s, _ := offline(t, func(_ int, r *http.Request) *http.Response { return reply(r) })
			tries := map[string]error{
				"put":  putString(t.Context(), s, "k", "body", objstore.PutOptions{}),
				"swap": putString(t.Context(), s, "k", "body", objstore.PutOptions{IfMatch: objstore.Matching(`"e"`)}),
				"get":  getErr(t.Context(), s, "k"),
				"list": listErr(t.Context(), s),
			}
			if !strings.HasPrefix(name, "no") { // which is what S3 itself says of a deletion
				tries["delete"] = s.Delete(t.Context(), "k")
			}
			for what, err := range tries {
				wantKind(t, what, err, nil)
				if err != nil && (!retry.Transient(err) || !strings.Contains(err.Error(), "has a captive portal, a proxy or a web server answered in its place?")) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// Each request of an upload in parts is made again when something else answers it.
func TestImpostorsOfParts(t *testing.T) {
	for n := 1; n <= 4; n++ {
		s := newStore(t, config(t, s3test.Start(t)))
		tap(s, func(i int, r *http.Request, send sender) (*http.Response, error) {
			if i == n {
				return answer(r, 200, ""), nil
			}
			return send()
		})
		want := strings.Repeat("x", firstPart+1)
		if err := putString(t.Context(), s, "k", want, objstore.PutOptions{}); err != nil {
			t.Fatalf("request %d: %v", n, err)
		}
		r, _, err := s.Get(t.Context(), "k", objstore.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != want || r.Close() != nil {
			t.Fatalf("request %d: %d bytes, %v", n, len(got), err)
		}
	}
}

// What is read is what was stored, also if it begins with blanks or looks like a page.
func TestBodiesStayWhole(t *testing.T) {
	s := newStore(t, config(t, s3test.Start(t)))
	for _, want := range []string{" ", strings.Repeat(" \n", peeked), "<html></html>", strings.Repeat("x", peeked)} {
		if err := putString(t.Context(), s, "k", want, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		r, _, err := s.Get(t.Context(), "k", objstore.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want || r.Close() != nil {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
}

// Some stores call the empty body of a Put or a deletion HTML.
func TestEmptyBodyCalledHTML(t *testing.T) {
	s := newStore(t, config(t, s3test.Start(t)))
	tap(s, func(_ int, r *http.Request, send sender) (*http.Response, error) {
		resp, err := send()
		if err == nil && r.Method != http.MethodGet {
			resp.Header.Set("Content-Type", "text/html; charset=UTF-8")
		}
		return resp, err
	})
	if err := errors.Join(putString(t.Context(), s, "k", "body", objstore.PutOptions{}), getErr(t.Context(), s, "k"), s.Delete(t.Context(), "k")); err != nil {
		t.Error(err)
	}
}
