package s3store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/objstore"
)

type sender = func() (*http.Response, error)

// What goes over the wire is plain: no aws-chunked body, no trailer, and the
// CRC-32 in a header, over http and https alike, whatever the environment says.
func TestRequests(t *testing.T) {
	t.Setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
	for _, c := range []struct {
		name string
		opts []s3test.Option
		off  bool
	}{{"http", nil, false}, {"https", []s3test.Option{s3test.TLS()}, false}, {"no checksums", nil, true}} {
		t.Run(c.name, func(t *testing.T) {
			srv := s3test.Start(t, c.opts...)
			if srv.CACert != "" {
				t.Setenv("AWS_CA_BUNDLE", srv.CACert)
			}
			cfg := config(t, srv)
			cfg.DisableChecksums = c.off
			s := newStore(t, cfg)
			w := tap(s, nil)
			for _, body := range []string{"", "small", strings.Repeat("x", firstPart+1)} {
				if err := putString(t.Context(), s, "k", body, objstore.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(getErr(t.Context(), s, "k"), listErr(t.Context(), s), s.Delete(t.Context(), "k")); err != nil {
				t.Fatal(err)
			}
			bodies := 0
			for _, r := range w.requests {
				if r.Method == http.MethodPut {
					bodies++
				}
				checkPlain(t, r, !c.off)
			}
			if bodies != 4 { // two whole, two parts
				t.Errorf("%d PUT requests, want 4", bodies)
			}
		})
	}
}

func checkPlain(t *testing.T, r *http.Request, checksums bool) {
	t.Helper()
	h := r.Header
	if h.Get("Content-Encoding") != "" || h.Get("X-Amz-Trailer") != "" || len(r.TransferEncoding) > 0 ||
		h.Get("X-Amz-Decoded-Content-Length") != "" || strings.HasPrefix(h.Get("X-Amz-Content-Sha256"), "STREAMING") {
		t.Errorf("%s %s is not plain: %v", r.Method, r.URL, h)
	}
	if has := h.Get("X-Amz-Checksum-Crc32") != ""; r.Method == http.MethodPut && has != checksums {
		t.Errorf("%s %s: a checksum is %v, want %v: %v", r.Method, r.URL, has, checksums, h)
	}
	for name := range h {
		if lower := strings.ToLower(name); strings.Contains(lower, "checksum") && !checksums {
			t.Errorf("%s %s has %s", r.Method, r.URL, name)
		}
	}
}

// What a bucket demands goes with the requests that make objects, and with no
// others: S3 refuses it there.
func TestExtras(t *testing.T) {
	cfg := config(t, s3test.Start(t))
	cfg.ServerSideEncryption, cfg.KMSKeyID, cfg.StorageClass = "aws:kms", "alias/backups", "STANDARD_IA"
	s := newStore(t, cfg)
	want := map[string]string{
		"X-Amz-Server-Side-Encryption":                "aws:kms",
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/backups",
		"X-Amz-Storage-Class":                         "STANDARD_IA",
	}
	w := tap(s, nil)
	for _, body := range []string{"small", strings.Repeat("x", firstPart+1)} {
		if err := putString(t.Context(), s, "k", body, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(getErr(t.Context(), s, "k"), listErr(t.Context(), s), s.Delete(t.Context(), "k")); err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, r := range w.requests {
		q := r.URL.Query()
		makes := r.Method == http.MethodPut && !q.Has("uploadId") || q.Has("uploads")
		if makes {
			made++
		}
		for name, value := range want {
			if !makes {
				value = ""
			}
			if got := r.Header.Get(name); got != value {
				t.Errorf("%s %s has %s %q, want %q", r.Method, r.URL, name, got, value)
			}
		}
	}
	if made != 2 {
		t.Errorf("%d requests make an object, want 2", made)
	}
}

// The server compares the checksum with what arrives.
func TestDamagedPut(t *testing.T) {
	s := newStore(t, config(t, s3test.Start(t)))
	tap(s, func(_ int, r *http.Request, send sender) (*http.Response, error) {
		if r.Header.Get("X-Amz-Checksum-Crc32") != "" {
			r.Header.Set("X-Amz-Checksum-Crc32", "AAAAAA==")
		}
		return send()
	})
	if err := putString(t.Context(), s, "k", "body", objstore.PutOptions{}); err == nil {
		t.Error("a damaged Put succeeds")
	}
	wantKind(t, "get", getErr(t.Context(), s, "k"), fs.ErrNotExist)
}

type readCloser struct {
	io.Reader
	io.Closer
}

func TestDamagedGet(t *testing.T) {
	s := newStore(t, config(t, s3test.Start(t)))
	body := strings.Repeat("0123456789", 20_000)
	if err := putString(t.Context(), s, "k", body, objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(io.Reader) io.Reader{
		"cut with an error": func(r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, 50_000), iotest.ErrReader(syscall.ECONNRESET))
		},
		"cut with a clean end": func(r io.Reader) io.Reader { return io.LimitReader(r, 50_000) },
		"one byte flipped": func(r io.Reader) io.Reader {
			return io.MultiReader(strings.NewReader("x"), io.NewSectionReader(strings.NewReader(body), 1, int64(len(body)-1)))
		},
	} {
		for what, opts := range map[string]objstore.GetOptions{"whole": {}, "range": {Length: 100_000}} {
			if name == "one byte flipped" && what == "range" {
				continue // nothing can tell; whoever reads ranges has hashes of its own
			}
			t.Run(name+" "+what, func(t *testing.T) {
				s := *s
				tap(&s, func(_ int, _ *http.Request, send sender) (*http.Response, error) {
					resp, err := send()
					if err == nil {
						resp.Body = readCloser{damage(resp.Body), resp.Body}
					}
					return resp, err
				})
				r, _, err := s.Get(t.Context(), "k", opts)
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.ReadAll(r)
				wantKind(t, "read", err, nil)
				if name == "cut with a clean end" && what == "range" && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("read: %v, want io.ErrUnexpectedEOF", err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A server may answer a range with the whole object, or with another one.
func TestRangeAnswers(t *testing.T) {
	for _, c := range []struct {
		opts   objstore.GetOptions
		status int
		header []string
		want   string
		fails  bool
	}{
		{objstore.GetOptions{Offset: 3, Length: 4}, 200, nil, "3456", false},
		{objstore.GetOptions{Offset: 3}, 200, nil, "3456789", false},
		{objstore.GetOptions{Length: 2}, 200, nil, "01", false},
		{objstore.GetOptions{Offset: 99, Length: 2}, 200, nil, "", false},
		{objstore.GetOptions{Offset: 3}, 206, []string{"Content-Range", "bytes 4-9/10"}, "", true},
		{objstore.GetOptions{Offset: 3}, 206, []string{"Content-Range", "nonsense"}, "", true},
	} {
		s, _ := offline(t, func(_ int, r *http.Request) *http.Response {
			header := append([]string{"Content-Length", "10", "Etag", `"e"`}, c.header...)
			return answer(r, c.status, "0123456789", header...)
		})
		r, info, err := s.Get(t.Context(), "k", c.opts)
		if (err != nil) != c.fails {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil {
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != c.want || info.Size != 10 {
			t.Errorf("%+v: got %q of %d bytes, %v", c, got, info.Size, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNotModified: a server says that an object is the same as before, or something else does.
// That counts only with the ETag that was asked about; otherwise the object is read.
func TestNotModified(t *testing.T) {
	for what, c := range map[string]struct {
		header   []string
		requests int
		want     error
	}{
		"a server": {[]string{"Etag", `"e"`}, 1, objstore.ErrNotModified}, "a server without ETags": {[]string{"X-Amz-Request-Id", "1"}, 1, objstore.ErrNotModified},
		"a portal": {[]string{"X-Amz-Request-Id", ""}, 2, nil}, "a cache": {[]string{"Etag", `"older"`, "X-Amz-Request-Id", "1"}, 2, nil},
	} {
		requests := 0
		s, _ := offline(t, func(_ int, r *http.Request) *http.Response {
			requests++
			if r.Header.Get("If-None-Match") != "" {
				return answer(r, http.StatusNotModified, "", c.header...)
			}
			return answer(r, http.StatusOK, "0123456789", "Content-Length", "10", "Etag", `"e"`)
		})
		r, _, err := s.Get(t.Context(), "k", objstore.GetOptions{IfNoneMatch: `"e"`})
		if err == nil {
			err = r.Close()
		}
		if !errors.Is(err, c.want) || requests != c.requests {
			t.Errorf("%s: %v after %d requests", what, err, requests)
		}
	}
	s := newStore(t, config(t, s3test.Start(t)))
	put, err := s.Put(t.Context(), "k", strings.NewReader("body"), objstore.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "k", objstore.GetOptions{IfNoneMatch: put.ETag}); !errors.Is(err, objstore.ErrNotModified) {
		t.Errorf("a real server: %v", err)
	}
}

// leftovers returns the number of unfinished uploads in the bucket.
func leftovers(t *testing.T, srv *s3test.Server, bucket string) int {
	t.Helper()
	out, err := srv.Client(t).ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(bucket)})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Uploads)
}

func TestMultipartFaults(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t)
	isPart := func(r *http.Request, number string) bool { return r.URL.Query().Get("partNumber") == number }
	isComplete := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	large := bytes.Repeat([]byte("0123456789abcdef"), (2*firstPart+firstPart/2)/16)
	for _, c := range []struct {
		name  string
		body  func(cancel func()) io.Reader
		fault func(tries int, r *http.Request, send sender) (*http.Response, error)
		want  error
		fails bool
	}{
		{name: "a part fails twice", fault: func(tries int, r *http.Request, send sender) (*http.Response, error) {
			if isPart(r, "2") && tries <= 2 {
				return refusal(r, 503, "SlowDown"), nil
			}
			return send()
		}},
		{name: "a part loses its answer", fault: func(tries int, r *http.Request, send sender) (*http.Response, error) {
			if isPart(r, "3") && tries == 1 {
				if resp, err := send(); err == nil {
					_ = resp.Body.Close()
				}
				return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
			}
			return send()
		}},
		{name: "completing fails once", fault: func(tries int, r *http.Request, send sender) (*http.Response, error) {
			if isComplete(r) && tries == 1 {
				return refusal(r, 500, "InternalError"), nil
			}
			return send()
		}},
		{name: "completing fails inside a 200", fails: true, fault: func(_ int, r *http.Request, send sender) (*http.Response, error) {
			if isComplete(r) {
				return refusal(r, 200, "InternalError"), nil
			}
			return send()
		}},
		{name: "a part is refused", fails: true, want: fs.ErrPermission, fault: func(_ int, r *http.Request, send sender) (*http.Response, error) {
			if isPart(r, "2") {
				return refusal(r, 403, "AccessDenied"), nil
			}
			return send()
		}},
		{name: "the condition does not hold", fails: true, want: objstore.ErrPrecondition, fault: func(_ int, r *http.Request, send sender) (*http.Response, error) {
			if isComplete(r) {
				return refusal(r, 412, "PreconditionFailed"), nil
			}
			return send()
		}},
		{name: "canceled in the body", fails: true, want: context.Canceled, body: func(cancel func()) io.Reader {
			return io.MultiReader(bytes.NewReader(large), readerFunc(func([]byte) (int, error) {
				cancel()
				return 0, nil
			}))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(t, srv)
			s := newStore(t, cfg)
			tries := map[string]int{}
			if c.fault != nil {
				tap(s, func(_ int, r *http.Request, send sender) (*http.Response, error) {
					tries[r.Method+r.URL.RawQuery]++
					return c.fault(tries[r.Method+r.URL.RawQuery], r, send)
				})
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var body io.Reader = bytes.NewReader(large)
			if c.body != nil {
				body = c.body(cancel)
			}
			info, err := s.Put(ctx, "large", body, objstore.PutOptions{IfAbsent: true})
			if c.fails {
				wantKind(t, "put", err, c.want)
				wantKind(t, "get", getErr(t.Context(), s, "large"), fs.ErrNotExist)
			} else if err != nil || info.Size != int64(len(large)) {
				t.Errorf("put: %+v, %v", info, err)
			} else if got := readAll(t, s, "large"); !bytes.Equal(got, large) {
				t.Errorf("got %d bytes that differ from the %d put", len(got), len(large))
			}
			if n := leftovers(t, srv, cfg.Bucket); n != 0 {
				t.Errorf("%d unfinished uploads are left", n)
			}
		})
	}
}

func readAll(t *testing.T, s *store, key string) []byte {
	t.Helper()
	r, _, err := s.Get(t.Context(), key, objstore.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return got
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A slow line may take as long as it needs; a dead one is given up.
func TestIdleTimeout(t *testing.T) {
	const idle = 500 * time.Millisecond // much longer than a busy machine takes to come back to us
	tick := func(n int, fn func()) {
		for ticker := time.NewTicker(idle / 20); n > 0; n-- {
			<-ticker.C
			fn()
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/slow":
			tick(30, func() {
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
			})
		case "/dead":
			_, _ = w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/silent":
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	client := newHTTPClient(idle)
	do := func(path string, body io.Reader) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, srv.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
	if err := do("/slow", nil); err != nil {
		t.Errorf("a slow answer: %v", err)
	}
	pipe, feed := io.Pipe()
	go tick(30, func() { _, _ = feed.Write([]byte("x")) })
	time.AfterFunc(34*idle/20, func() { _ = feed.Close() })
	if err := do("/upload", pipe); err != nil {
		t.Errorf("a slow request: %v", err)
	}
	for _, path := range []string{"/dead", "/silent"} {
		began := time.Now()
		if err := do(path, nil); err == nil || time.Since(began) > 20*idle {
			t.Errorf("%s: %v after %v", path, err, time.Since(began))
		}
	}
}
