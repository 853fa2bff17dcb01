package doctor_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/doctor"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// storeAt is a store of a bucket, reached at an endpoint.
func storeAt(t *testing.T, endpoint, bucket string) objstore.Store {
	t.Helper()
	return systemtest.Must(s3store.New(t.Context(), s3store.Config{
		Bucket: bucket, Region: "us-east-1", Endpoint: endpoint, AccessKeyID: "AKIAANY", SecretAccessKey: systemtest.KeyOf("doctor"),
	}))
}

// behind puts something in front of an endpoint that changes its answers.
func behind(t *testing.T, endpoint string, change func(*http.Response) error) string {
	t.Helper()
	target := systemtest.Must(url.Parse(endpoint))
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, ModifyResponse: change,
	})
	t.Cleanup(front.Close)
	return front.URL
}

// denied refuses requests with a method, to objects or to lists.
func denied(method string, list bool) func(systemtest.S3Request) *systemtest.S3Refusal {
	return func(r systemtest.S3Request) *systemtest.S3Refusal {
		if r.Method == method && r.IsList == list {
			return &systemtest.S3Refusal{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return nil
	}
}

// dropped drops a header of requests before the server sees it, as some services ignore it.
func dropped(header string) func(systemtest.S3Request) *systemtest.S3Refusal {
	return func(r systemtest.S3Request) *systemtest.S3Refusal {
		r.Header.Del(header)
		return nil
	}
}

// TestFaultsOfTheBucket plants faults between this machine and a real S3 server.
func TestFaultsOfTheBucket(t *testing.T) {
	gate := systemtest.NewS3Gate(t, s3test.Start(t))
	w := newWard(t, storeAt(t, gate.Url, gate.Bucket), nil)
	rule := func(rule func(systemtest.S3Request) *systemtest.S3Refusal) func(*ward) {
		return func(*ward) { gate.Refuse(rule) }
	}
	front := func(change func(*http.Response) error) func(*ward) {
		return func(w *ward) { w.cfg.Store = storeAt(t, behind(t, gate.Url, change), gate.Bucket) }
	}
	for _, f := range []fault{
		{name: "LIST denied", line: "rights list", status: doctor.Failed, found: "s3:ListBucket", remedy: "policy", plant: rule(denied(http.MethodGet, true))},
		{name: "GET denied", line: "rights get", status: doctor.Failed, found: "s3:GetObject", remedy: "policy", plant: rule(denied(http.MethodGet, false))},
		{name: "HEAD denied", line: "rights head", status: doctor.Failed, found: "s3:GetObject", remedy: "policy", plant: rule(denied(http.MethodHead, false))},
		{name: "PUT denied", line: "rights put", status: doctor.Failed, found: "s3:PutObject", remedy: "policy", plant: rule(denied(http.MethodPut, false))},
		{name: "DELETE denied", line: "rights delete", status: doctor.Warning, found: "s3:DeleteObject", remedy: "nodes/doctor/", plant: rule(denied(http.MethodDelete, false))},
		{name: "If-None-Match ignored", line: "rights put if-none-match", status: doctor.Failed, found: "ignores If-None-Match", remedy: "AdvisoryFencing", plant: rule(dropped("If-None-Match"))},
		{name: "If-Match ignored", line: "rights put if-match", status: doctor.Failed, found: "ignores If-Match", remedy: "AdvisoryFencing", plant: rule(dropped("If-Match"))},
		{name: "conditions ignored", line: "rights conditions", status: doctor.Failed, found: "does not honour conditional writes", remedy: "AdvisoryFencing", plant: rule(dropped("If-Match"))},
		{name: "clock 20 minutes off", line: "store clock", status: doctor.Failed, found: "20 minutes behind", remedy: "NTP", plant: front(later(20 * time.Minute))},
		{name: "clock 8 minutes off", line: "store clock", status: doctor.Warning, found: "8 minutes ahead", remedy: "NTP", plant: front(later(-8 * time.Minute))},
		{name: "another region", line: "store region", status: doctor.Failed, found: "the bucket is in region eu-west-3", remedy: "?region=eu-west-3", plant: front(elsewhere)},
		{name: "another region, address", line: "store address", status: doctor.Failed, found: "eu-west-3", remedy: "region", plant: front(elsewhere)},
		{name: "unknown credentials", line: "rights list", status: doctor.Failed, found: "does not know them", remedy: "check the credentials",
			plant: rule(func(systemtest.S3Request) *systemtest.S3Refusal {
				return &systemtest.S3Refusal{Status: http.StatusForbidden, Code: "InvalidAccessKeyId"}
			})},
		{name: "no such bucket", line: "store address", status: doctor.Failed, found: "no such bucket", remedy: "create the bucket", plant: func(w *ward) { w.cfg.Store = storeAt(t, gate.Url, "no-such-bucket") }},
		{name: "unreachable", line: "store address", status: doctor.Failed, found: "cannot be reached", remedy: "network", plant: func(w *ward) { w.cfg.Store = storeAt(t, "http://127.0.0.1:1", gate.Bucket) }},
		{name: "no such host", line: "store address", status: doctor.Failed, found: "no such host", remedy: "the name", plant: func(w *ward) { w.cfg.Store = storeAt(t, "http://no-such-host.invalid", gate.Bucket) }},
	} {
		t.Run(f.name, func(t *testing.T) {
			gate.Refuse(nil)
			now := *w
			now.t = t
			f.sees(&now)
			gate.Refuse(nil)
		})
	}
	if left := len(systemtest.Keys(t, w.cfg.Store)); left > 6 { // the denied DELETE has left 2
		t.Errorf("the doctor has left objects: %q", systemtest.Keys(t, w.cfg.Store))
	}
}

// later shifts the clock of a server.
func later(by time.Duration) func(*http.Response) error {
	return func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		return nil
	}
}

// elsewhere answers as a region does for a bucket of another one.
func elsewhere(r *http.Response) error {
	r.StatusCode, r.Status = http.StatusMovedPermanently, strconv.Itoa(http.StatusMovedPermanently)
	r.Header.Set("X-Amz-Bucket-Region", "eu-west-3")
	return nil
}

// TestSecure: what TLS shows.
func TestSecure(t *testing.T) {
	server := s3test.Start(t, s3test.TLS())
	t.Setenv("AWS_CA_BUNDLE", server.CACert)
	bucket := server.NewBucket(t)
	store := systemtest.Must(s3store.New(t.Context(), s3store.Config{
		Bucket: bucket, Region: server.Region, Endpoint: server.Endpoint, AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
	}))
	w := newWard(t, store, func(cfg *driftdb.Config) { cfg.Path = filepath.Join(t.TempDir(), "app.sqlite") })
	if f := w.examine()["store tls"]; !strings.Contains(f.Found, "TLS 1.3; the server's certificate ends in") {
		t.Errorf("%+v", f)
	}
}
