package s3test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestStart(t *testing.T) {
	for scheme, opts := range map[string][]Option{"http": nil, "https": {TLS()}} {
		t.Run(scheme, func(t *testing.T) {
			var addr string
			t.Run("running", func(t *testing.T) {
				srv := Start(t, opts...)
				u, err := url.Parse(srv.Endpoint)
				if err != nil || u.Scheme != scheme {
					t.Fatalf("endpoint %q, %v", srv.Endpoint, err)
				}
				addr = u.Host
				bucket, other := srv.NewBucket(t), srv.NewBucket(t)
				if bucket == other {
					t.Error("two buckets have one name")
				}
				key := "k"
				in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("body")}
				if _, err := srv.Client(t).PutObject(t.Context(), in); err != nil {
					t.Error(err)
				}
			})
			if t.Failed() || addr == "" {
				return
			}
			if conn, err := net.Dial("tcp", addr); err == nil {
				_ = conn.Close()
				t.Errorf("something listens on %s after the test's end", addr)
			}
		})
	}
}

// A port that is taken is noticed, and not mistaken for the server.
func TestPortTaken(t *testing.T) {
	first := Start(t)
	program, err := build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := &Server{AccessKey: "a", SecretKey: "s", dir: t.TempDir()}
	err = second.run(t, program, []string{"-addr", strings.TrimPrefix(first.Endpoint, "http://")})
	if err == nil {
		t.Error("two servers run on one port")
	} else {
		t.Log(err)
	}
}
