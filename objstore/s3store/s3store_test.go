package s3store

import (
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// config is that of a new bucket.
func config(t *testing.T, srv *s3test.Server) Config {
	if racing := strings.Contains(t.Name(), "/Race") || strings.Contains(t.Name(), "/NoTorn"); racing && !srv.Atomic {
		t.Skip("the server is not atomic on this file system; set TMPDIR to one with extended attributes")
	}
	return Config{
		Bucket: srv.NewBucket(t), Region: srv.Region, Endpoint: srv.Endpoint,
		AccessKeyID: srv.AccessKey, SecretAccessKey: srv.SecretKey,
	}
}

func newStore(t *testing.T, cfg Config) *store {
	t.Helper()
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*store)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t)
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		s := newStore(t, config(t, srv))
		s.pageSize = 5 // every list is one of several pages
		if strings.HasSuffix(t.Name(), "/ListMany") {
			s.pageSize = maxPage
		}
		return s
	})
}

// Over https, below a prefix, with the certificate that AWS_CA_BUNDLE names.
func TestHTTPS(t *testing.T) {
	srv := s3test.Start(t, s3test.TLS())
	t.Setenv("AWS_CA_BUNDLE", srv.CACert)
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		cfg := config(t, srv)
		cfg.Prefix = "/a prefix/of+two/"
		return newStore(t, cfg)
	})
}

func TestWithoutChecksums(t *testing.T) {
	t.Parallel()
	srv := s3test.Start(t)
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		cfg := config(t, srv)
		cfg.DisableChecksums = true
		return newStore(t, cfg)
	})
}
