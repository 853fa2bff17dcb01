package s3store

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/objstore"
)

var sentinels = []error{
	fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
	objstore.ErrPrecondition, objstore.ErrNoBucket, objstore.ErrInvalidKey,
}

// wantKind checks that err wraps want of all sentinels, or none if want is nil.
func wantKind(t *testing.T, what string, err, want error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %v", what, want)
	}
	for _, s := range sentinels {
		if errors.Is(err, s) != (s == want) {
			t.Errorf("%s: %v: is %q = %v", what, err, s, errors.Is(err, s))
		}
	}
}

func putString(ctx context.Context, s objstore.Store, key, body string, opts objstore.PutOptions) error {
	_, err := s.Put(ctx, key, strings.NewReader(body), opts)
	return err
}

func getErr(ctx context.Context, s objstore.Store, key string) error {
	r, _, err := s.Get(ctx, key, objstore.GetOptions{})
	if err == nil {
		err = r.Close()
	}
	return err
}

func listErr(ctx context.Context, s objstore.Store) (last error) {
	for _, err := range s.List(ctx, "", objstore.ListOptions{}) {
		last = err
	}
	return last
}

func TestErrorKinds(t *testing.T) {
	ifMatch := objstore.PutOptions{IfMatch: objstore.Matching(`"etag"`)}
	for _, c := range []struct {
		op     string
		status int
		code   string
		want   error
		text   string
	}{
		{"get", 404, "NoSuchKey", fs.ErrNotExist, ""},
		{"get", 404, "", nil, ""}, // a proxy's, which knows nothing of objects
		{"get", 404, "NoSuchBucket", objstore.ErrNoBucket, "create the bucket"},
		{"put", 404, "NoSuchBucket", objstore.ErrNoBucket, "create the bucket"},
		{"put", 404, "NoSuchKey", nil, ""},
		{"swap", 404, "NoSuchKey", objstore.ErrPrecondition, ""},
		{"swap", 404, "NoSuchBucket", objstore.ErrNoBucket, ""},
		{"swap", 412, "PreconditionFailed", objstore.ErrPrecondition, ""},
		{"swap", 409, "ConditionalRequestConflict", nil, ""},
		{"put", 409, "OperationAborted", nil, ""},
		{"put", 403, "AccessDenied", fs.ErrPermission, "allows s3:PutObject; if the bucket's policy demands encryption, set ServerSideEncryption"},
		{"swap", 403, "AccessDenied", fs.ErrPermission, "?sse="},
		{"get", 403, "AccessDenied", fs.ErrPermission, "s3:GetObject, and s3:ListBucket on the bucket"},
		{"get", 403, "InvalidObjectState", fs.ErrPermission, "archive"},
		{"get", 403, "AllAccessDisabled", fs.ErrPermission, "check the credentials and what"},
		{"list", 403, "AccessDenied", fs.ErrPermission, "s3:ListBucket on the bucket"},
		{"put", 403, "InvalidAccessKeyId", fs.ErrPermission, "does not know them"},
		{"put", 403, "SignatureDoesNotMatch", fs.ErrPermission, "secret key"},
		{"list", 401, "Unauthorized", fs.ErrPermission, "credentials"},
		{"put", 400, "InvalidToken", fs.ErrPermission, "credentials"},
		{"put", 400, "ExpiredToken", nil, "open it with new ones"},
		{"put", 403, "RequestTimeTooSkewed", fs.ErrPermission, "clock"},
		{"swap", 501, "NotImplemented", errors.ErrUnsupported, ""},
		{"put", 405, "MethodNotAllowed", errors.ErrUnsupported, ""},
		{"put", 500, "InternalError", nil, ""},
		{"list", 503, "SlowDown", nil, ""},
		{"list", 404, "NoSuchBucket", objstore.ErrNoBucket, ""},
		{"list", 404, "NoSuchKey", nil, ""},
		{"delete", 404, "NoSuchBucket", objstore.ErrNoBucket, ""},
		{"delete", 403, "AccessDenied", fs.ErrPermission, "s3:DeleteObject"},
		{"put", 429, "TooManyRequests", nil, ""},
		{"put", 301, "PermanentRedirect", objstore.ErrNoBucket, "ap-south-1"},
		{"get", 400, "AuthorizationHeaderMalformed", objstore.ErrNoBucket, "ap-south-1"},
	} {
		t.Run(c.op+" "+c.code, func(t *testing.T) {
			s, w := offline(t, func(_ int, r *http.Request) *http.Response {
				if strings.Contains(c.text, "south") {
					return refusal(r, c.status, c.code, "X-Amz-Bucket-Region", "ap-south-1")
				}
				return refusal(r, c.status, c.code)
			})
			s.prefix = "pre/"
			var err error
			switch c.op {
			case "get":
				err = getErr(t.Context(), s, "some/key")
			case "put":
				err = putString(t.Context(), s, "some/key", "body", objstore.PutOptions{})
			case "swap":
				err = putString(t.Context(), s, "some/key", "body", ifMatch)
			case "list":
				err = listErr(t.Context(), s)
			case "delete":
				err = s.Delete(t.Context(), "some/key")
			}
			wantKind(t, c.op, err, c.want)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Status != c.status || e.Bucket != "the-bucket" || e.RequestID != "REQ42" || !strings.HasPrefix(e.Key, "pre/") {
				t.Fatalf("%#v", err)
			}
			for _, part := range []string{"s3://the-bucket/pre/", c.code, "REQ42", c.text} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
			for _, secret := range []string{"the-secret", "the-token"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q gives a secret away", err)
				}
			}
			if len(w.requests) != 1 {
				t.Errorf("%d requests, want 1: retrying is the caller's", len(w.requests))
			}
		})
	}
}

// A HEAD is refused without a word.
func TestAdviceOfHead(t *testing.T) {
	s, _ := offline(t, func(_ int, r *http.Request) *http.Response {
		if r.Method == http.MethodHead {
			return refusal(r, 403, "")
		}
		return refusal(r, 416, "InvalidRange")
	})
	_, _, err := s.Get(t.Context(), "k", objstore.GetOptions{Offset: 5})
	if wantKind(t, "head", err, fs.ErrPermission); !strings.Contains(err.Error(), "s3:ListBucket") {
		t.Error(err)
	}
}

// What a refused Put has asked for is not advised.
func TestAdviceOfPut(t *testing.T) {
	for encryption, advice := range map[string]string{
		"":        "set ServerSideEncryption",
		"AES256":  "allows s3:PutObject",
		"aws:kms": "kms:GenerateDataKey",
	} {
		s, _ := offline(t, func(_ int, r *http.Request) *http.Response { return refusal(r, 403, "AccessDenied") })
		s.extras = Config{ServerSideEncryption: encryption}.extras()
		for name, size := range map[string]int{"whole": 1, "in parts": firstPart + 1} {
			err := putString(t.Context(), s, "k", strings.Repeat("x", size), objstore.PutOptions{})
			wantKind(t, name, err, fs.ErrPermission)
			if !strings.Contains(err.Error(), advice) || strings.Contains(err.Error(), "set ServerSideEncryption") != (encryption == "") {
				t.Errorf("%s, with %q: %v", name, encryption, err)
			}
		}
	}
}

func TestDeleteOfMissing(t *testing.T) {
	s, _ := offline(t, func(_ int, r *http.Request) *http.Response { return refusal(r, 404, "NoSuchKey") })
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

// A wrong clock is corrected by the server's time, once.
func TestClockSkew(t *testing.T) {
	ahead := time.Now().Add(time.Hour).UTC()
	refuse := 1
	s, w := offline(t, func(n int, r *http.Request) *http.Response {
		if n <= refuse {
			return refusal(r, 403, "RequestTimeTooSkewed", "Date", ahead.Format(http.TimeFormat))
		}
		return answer(r, 200, "", "Etag", `"841a2d689ad86bd1611447453c22c6fc"`, "Date", ahead.Format(http.TimeFormat)) // the MD5 of "body"
	})
	if err := putString(t.Context(), s, "k", "body", objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	signed, err := time.Parse("20060102T150405Z", w.requests[1].Header.Get("X-Amz-Date"))
	if err != nil || signed.Sub(ahead).Abs() > time.Minute {
		t.Errorf("signed at %v, %v, want about %v", signed, err, ahead)
	}
}

func TestRealErrors(t *testing.T) {
	srv := s3test.Start(t)
	calls := func(t *testing.T, cfg Config, want error) {
		t.Helper()
		s := newStore(t, cfg)
		wantKind(t, "put", putString(t.Context(), s, "k", "x", objstore.PutOptions{}), want)
		wantKind(t, "create", putString(t.Context(), s, "k", "x", objstore.PutOptions{IfAbsent: true}), want)
		wantKind(t, "replace", putString(t.Context(), s, "k", "x", objstore.PutOptions{IfMatch: objstore.Matching(`"x"`)}), want)
		wantKind(t, "put in parts", putString(t.Context(), s, "k", strings.Repeat("x", firstPart+1), objstore.PutOptions{}), want)
		wantKind(t, "get", getErr(t.Context(), s, "k"), want)
		wantKind(t, "list", listErr(t.Context(), s), want)
		wantKind(t, "delete", s.Delete(t.Context(), "k"), want)
	}
	good := config(t, srv)
	t.Run("wrong secret", func(t *testing.T) {
		cfg := good
		cfg.SecretAccessKey = "wrong"
		calls(t, cfg, fs.ErrPermission)
	})
	t.Run("unknown key id", func(t *testing.T) {
		cfg := good
		cfg.AccessKeyID = "AKIANOBODY"
		calls(t, cfg, fs.ErrPermission)
	})
	t.Run("missing bucket", func(t *testing.T) {
		cfg := good
		cfg.Bucket = "no-such-bucket"
		calls(t, cfg, objstore.ErrNoBucket)
	})
	t.Run("wrong CA", func(t *testing.T) {
		cfg := good
		cfg.Endpoint = s3test.Start(t, s3test.TLS()).Endpoint
		err := getErr(t.Context(), newStore(t, cfg), "k")
		if wantKind(t, "get", err, nil); !strings.Contains(err.Error(), "certificate") {
			t.Error(err)
		}
	})
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, Config{Bucket: "b", Endpoint: "http://" + addr, AccessKeyID: "a", SecretAccessKey: "s"})
	began := time.Now()
	err = putString(t.Context(), s, "k", "x", objstore.PutOptions{})
	wantKind(t, "put", err, nil)
	if !strings.Contains(err.Error(), addr) || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// A missing file of the credential chain must not look like a missing object.
func TestMissingCredentialsFile(t *testing.T) {
	isolate(t)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", filepath.Join(t.TempDir(), "missing"))
	s := newStore(t, Config{Bucket: "b", Region: "us-east-1", Endpoint: "http://127.0.0.1:1"})
	err := getErr(t.Context(), s, "k")
	wantKind(t, "get", err, nil)
	if !strings.Contains(err.Error(), "missing") {
		t.Error(err)
	}
}
