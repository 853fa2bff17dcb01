package s3store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/objstore"
)

// credentialsFile makes a shared credentials file that the AWS chain reads, and
// returns how to put other keys into it.
func credentialsFile(t *testing.T) (rotate func(key, secret string)) {
	isolate(t)
	file := filepath.Join(t.TempDir(), "credentials")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	return func(key, secret string) {
		t.Helper()
		text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", key, secret)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// accepting is a store with the keys of the AWS chain, at a server that takes
// those with the id good, and answers others with a code.
func accepting(t *testing.T, good *atomic.Value, status int, code string) (*store, *wire) {
	t.Helper()
	s := newStore(t, Config{Bucket: "the-bucket", Region: "eu-west-1", Endpoint: "http://127.0.0.1:1"})
	w := tap(s, func(_ int, r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		if strings.Contains(r.Header.Get("Authorization"), "Credential="+good.Load().(string)+"/") {
			// It has read the body, and says so.
			return answer(r, 200, "", "Etag", `"e"`, "X-Amz-Checksum-Crc32", r.Header.Get("X-Amz-Checksum-Crc32")), nil
		}
		return refusal(r, status, code), nil
	})
	return s, w
}

// counted counts how often the store reads the AWS configuration again.
func counted(s *store) *atomic.Int64 {
	var n atomic.Int64
	renewal := renewalOf(s)
	load := renewal.load
	renewal.load = func(ctx context.Context) (aws.CredentialsProvider, error) {
		n.Add(1)
		return load(ctx)
	}
	return &n
}

func renewalOf(s *store) *renewal {
	r, _ := s.client.Options().Credentials.(*renewal)
	return r
}

// The file with the keys is rotated. The next request is refused, and goes
// through with the new keys, body and all.
func TestRotatedKeys(t *testing.T) {
	rotate := credentialsFile(t)
	for code, status := range map[string]int{
		"ExpiredToken": 400, "ExpiredTokenException": 400, "TokenRefreshRequired": 400, "InvalidToken": 400,
		"InvalidAccessKeyId": 403, "XAdminUserNotFound": 404,
	} {
		t.Run(code, func(t *testing.T) {
			rotate("AKIAOLD", "s")
			var good atomic.Value
			good.Store("AKIAOLD")
			s, w := accepting(t, &good, status, code)
			loads := counted(s)
			put := func() {
				t.Helper()
				if err := putString(t.Context(), s, "k", "the body", objstore.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
			put()
			for _, key := range []string{"AKIANEW", "AKIANEWER"} { // one right after the other
				rotate(key, "s")
				good.Store(key)
				put()
				put()
			}
			if len(w.requests) != 7 || loads.Load() != 2 {
				t.Errorf("%d requests and %d reads of the configuration, want 7 and 2", len(w.requests), loads.Load())
			}
			for _, r := range w.requests {
				if r.ContentLength != int64(len("the body")) {
					t.Errorf("a request with a body of %d bytes", r.ContentLength)
				}
			}
		})
	}
}

// Over a real server, in parts and whole.
func TestRotatedKeysAtServer(t *testing.T) {
	srv := s3test.Start(t)
	cfg := config(t, srv)
	key, secret := cfg.AccessKeyID, cfg.SecretAccessKey
	cfg.AccessKeyID, cfg.SecretAccessKey = "", ""
	rotate := credentialsFile(t)
	for name, size := range map[string]int{"whole": 100, "in parts": firstPart + 100} {
		t.Run(name, func(t *testing.T) {
			rotate("AKIANOBODY", "s")
			s := newStore(t, cfg)
			rotate(key, secret)
			body := strings.Repeat("0123456789", size/10)
			if err := putString(t.Context(), s, "k", body, objstore.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := string(readAll(t, s, "k")); got != body {
				t.Errorf("the object has %d bytes, want %d", len(got), len(body))
			}
		})
	}
}

// Many requests are refused at once: one of them reads the configuration, and
// all of them go on.
func TestRotatedKeysAtOnce(t *testing.T) {
	const requests = 50
	rotate := credentialsFile(t)
	rotate("AKIAOLD", "s")
	var good atomic.Value
	good.Store("AKIANEW")
	s, w := accepting(t, &good, 403, "InvalidAccessKeyId")
	var underway sync.WaitGroup
	underway.Add(requests)
	reply := w.fn
	w.fn = func(n int, r *http.Request, send sender) (*http.Response, error) {
		if n <= requests { // wait until all are on the way with the old key
			underway.Done()
			underway.Wait()
		}
		return reply(n, r, send)
	}
	loads := counted(s)
	rotate("AKIANEW", "s")
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if err := putString(t.Context(), s, "k", "x", objstore.PutOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if loads.Load() != 1 || len(w.requests) != 2*requests {
		t.Errorf("%d reads of the configuration and %d requests, want 1 and %d", loads.Load(), len(w.requests), 2*requests)
	}
}

// A key that is wrong and stays wrong costs a look at the configuration every
// few seconds, and no second request.
func TestWrongKeyStays(t *testing.T) {
	rotate := credentialsFile(t)
	rotate("AKIAWRONG", "s")
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Value
		good.Store("AKIAGOOD")
		s, w := accepting(t, &good, 403, "InvalidAccessKeyId")
		loads := counted(s)
		for range 100 {
			wantKind(t, "put", putString(t.Context(), s, "k", "x", objstore.PutOptions{}), fs.ErrPermission)
		}
		if loads.Load() != 1 || len(w.requests) != 100 {
			t.Errorf("%d reads of the configuration, %d requests, want 1 and 100", loads.Load(), len(w.requests))
		}
		rotate("AKIAGOOD", "s")
		wantKind(t, "at once", putString(t.Context(), s, "k", "x", objstore.PutOptions{}), fs.ErrPermission)
		time.Sleep(renewPause)
		if err := putString(t.Context(), s, "k", "x", objstore.PutOptions{}); err != nil {
			t.Errorf("a little later: %v", err)
		}
		// The service takes back the new one, too, and that shows.
		good.Store("AKIAOTHER")
		wantKind(t, "refused anew", putString(t.Context(), s, "k", "x", objstore.PutOptions{}), fs.ErrPermission)
	})
}

// Keys that are no longer there are no reason to forget those that were.
func TestKeysGone(t *testing.T) {
	rotate := credentialsFile(t)
	rotate("AKIAOLD", "s")
	var good atomic.Value
	good.Store("AKIANEW")
	s, _ := accepting(t, &good, 400, "ExpiredToken")
	if err := os.Remove(os.Getenv("AWS_SHARED_CREDENTIALS_FILE")); err != nil {
		t.Fatal(err)
	}
	err := putString(t.Context(), s, "k", "x", objstore.PutOptions{})
	wantKind(t, "put", err, nil)
	if !strings.Contains(err.Error(), "renew them there") {
		t.Error(err)
	}
	if creds, err := renewalOf(s).Retrieve(t.Context()); err != nil || creds.AccessKeyID != "AKIAOLD" {
		t.Errorf("credentials %s, %v", creds.AccessKeyID, err)
	}
}

// Keys that were given stay, whatever the AWS configuration has.
func TestGivenKeysStay(t *testing.T) {
	credentialsFile(t)("AKIAOTHER", "s")
	s, w := offline(t, func(_ int, r *http.Request) *http.Response { return refusal(r, 400, "ExpiredToken") })
	err := putString(t.Context(), s, "k", "x", objstore.PutOptions{})
	wantKind(t, "put", err, nil)
	if len(w.requests) != 1 || renewalOf(s) != nil {
		t.Errorf("%d requests, want 1", len(w.requests))
	}
}

// Waiting for the credentials ends with the context.
func TestRenewalEnds(t *testing.T) {
	rotate := credentialsFile(t)
	rotate("AKIAOLD", "s")
	var good atomic.Value
	good.Store("AKIANEW")
	s, _ := accepting(t, &good, 400, "ExpiredToken")
	ctx, cancel := context.WithCancel(t.Context())
	renewalOf(s).load = func(ctx context.Context) (aws.CredentialsProvider, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := putString(ctx, s, "k", "x", objstore.PutOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
