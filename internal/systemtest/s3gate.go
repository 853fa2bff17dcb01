package systemtest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/s3test"
)

// S3Gate stands in front of a real S3 server and adds accounts and policies, which that
// server lacks: it accepts any key, refuses what a test wants refused, and passes the rest
// on under the server's own account.
type S3Gate struct {
	Server *s3test.Server
	Url    string
	Bucket string
	rule   atomic.Pointer[func(S3Request) *S3Refusal]
}

// S3Request is a request as the gate sees it.
type S3Request struct {
	*http.Request
	AccessKey string
	key       string // of the object
	IsList    bool
}

// S3Refusal is a response with one of S3's error codes.
type S3Refusal struct {
	Status int
	Code   string
}

// NewS3Gate creates a bucket on the server, and a gate in front of it.
func NewS3Gate(t testing.TB, server *s3test.Server) *S3Gate {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &S3Gate{Server: server, Bucket: server.NewBucket(t)}
	g.Refuse(nil)
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		if err := g.sign(p.Out); err != nil {
			t.Errorf("sign a request anew: %v", err)
		}
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refusal := (*g.rule.Load())(g.request(r)); refusal != nil {
			refusal.answer(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	g.Url = front.URL
	return g
}

// Refuse sets the rule for what the gate refuses; a nil rule refuses nothing.
func (g *S3Gate) Refuse(rule func(S3Request) *S3Refusal) {
	if rule == nil {
		rule = func(S3Request) *S3Refusal { return nil }
	}
	g.rule.Store(&rule)
}

// Config returns the configuration of a database in the bucket behind the gate. Nothing is
// retried.
func (g *S3Gate) Config(t testing.TB) driftdb.Config {
	return driftdb.Config{
		Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), ManualSync: true, Retry: driftdb.RetryPolicy{MaxRetries: -1},
		S3: &driftdb.S3Config{
			Bucket: g.Bucket, Region: g.Server.Region, Endpoint: g.Url, AccessKeyID: "AKIAANY", SecretAccessKey: KeyOf("gate"),
		},
	}
}

// sign replaces a request's signature with one by the server's own account.
func (g *S3Gate) sign(r *http.Request) error {
	for _, name := range []string{"Authorization", "X-Amz-Security-Token"} {
		r.Header.Del(name)
	}
	account := aws.Credentials{AccessKeyID: g.Server.AccessKey, SecretAccessKey: g.Server.SecretKey}
	return v4.NewSigner().SignHTTP(r.Context(), account, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", g.Server.Region, time.Now(),
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
}

func (g *S3Gate) request(r *http.Request) S3Request {
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	accessKey, _, _ := strings.Cut(credential, "/")
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return S3Request{Request: r, AccessKey: accessKey, key: key, IsList: key == ""}
}

// IsMissing reports whether there is no object under the request's key.
func (g *S3Gate) IsMissing(t testing.TB, r S3Request) bool {
	_, err := g.Server.Client(t).HeadObject(r.Context(), &s3.HeadObjectInput{Bucket: &g.Bucket, Key: &r.key})
	return err != nil
}

func (f *S3Refusal) answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(f.Status)
	if r.Method != http.MethodHead {
		_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>Access Denied</Message></Error>`, f.Code)
	}
}
