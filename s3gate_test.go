package driftdb_test

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

// s3Gate stands before a real S3 server and has accounts and policies, which
// that has not: it takes any key, refuses what a test wants refused, and passes
// the rest on under the server's own account.
type s3Gate struct {
	server *s3test.Server
	url    string
	bucket string
	rule   atomic.Pointer[func(s3Request) *s3Refusal]
}

// s3Request is a request as the gate sees it.
type s3Request struct {
	*http.Request
	accessKey string
	key       string // of the object
	isList    bool
}

// s3Refusal is an answer with one of S3's error codes.
type s3Refusal struct {
	status int
	code   string
}

func newS3Gate(t *testing.T, server *s3test.Server) *s3Gate {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &s3Gate{server: server, bucket: server.NewBucket(t)}
	g.refuse(nil)
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
	g.url = front.URL
	return g
}

// refuse sets what the gate does not let through; nil is nothing.
func (g *s3Gate) refuse(rule func(s3Request) *s3Refusal) {
	if rule == nil {
		rule = func(s3Request) *s3Refusal { return nil }
	}
	g.rule.Store(&rule)
}

// config is a database in the bucket behind the gate. Nothing is retried.
func (g *s3Gate) config(t *testing.T) driftdb.Config {
	return driftdb.Config{
		Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), ManualSync: true, Retry: driftdb.RetryPolicy{MaxRetries: -1},
		S3: &driftdb.S3Config{
			Bucket: g.bucket, Region: g.server.Region, Endpoint: g.url, AccessKeyID: "AKIAANY", SecretAccessKey: keyOf("gate"),
		},
	}
}

// sign replaces a request's signature by one of the server's own account.
func (g *s3Gate) sign(r *http.Request) error {
	for _, name := range []string{"Authorization", "X-Amz-Security-Token"} {
		r.Header.Del(name)
	}
	account := aws.Credentials{AccessKeyID: g.server.AccessKey, SecretAccessKey: g.server.SecretKey}
	return v4.NewSigner().SignHTTP(r.Context(), account, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", g.server.Region, time.Now(),
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
}

func (g *s3Gate) request(r *http.Request) s3Request {
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	accessKey, _, _ := strings.Cut(credential, "/")
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return s3Request{Request: r, accessKey: accessKey, key: key, isList: key == ""}
}

// isMissing says whether there is no object of the request's key.
func (g *s3Gate) isMissing(t *testing.T, r s3Request) bool {
	_, err := g.server.Client(t).HeadObject(r.Context(), &s3.HeadObjectInput{Bucket: &g.bucket, Key: &r.key})
	return err != nil
}

func (f *s3Refusal) answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>Access Denied</Message></Error>`, f.code)
	}
}
