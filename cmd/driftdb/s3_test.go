package main

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestS3 runs the scripts of testdata/s3 against a real server.
func TestS3(t *testing.T) {
	for scheme, opts := range map[string][]s3test.Option{"http": nil, "https": {s3test.TLS()}} {
		t.Run(scheme, func(t *testing.T) {
			srv := s3test.Start(t, opts...)
			query := "?path_style=true&region=" + srv.Region + "&endpoint=" + url.QueryEscape(srv.Endpoint)
			plain := "s3://" + srv.NewBucket(t) + query
			env := map[string]string{
				"PLAIN":                 plain,
				"ROOT":                  plain + "&prefix=/",
				"BUCKET":                "s3://" + srv.NewBucket(t) + "/some/prefix" + query,
				"NO_BUCKET":             "s3://no-such-bucket" + query,
				"AWS_ACCESS_KEY_ID":     srv.AccessKey,
				"AWS_SECRET_ACCESS_KEY": srv.SecretKey,
				"AWS_CA_BUNDLE":         srv.CACert,
			}
			// Not in parallel with this function, whose end stops the server.
			t.Run("script", func(t *testing.T) {
				testscript.Run(t, testscript.Params{
					Files: []string{filepath.Join("testdata", "s3.txtar")},
					Setup: func(e *testscript.Env) error {
						if srv.CACert == "" {
							delete(env, "AWS_CA_BUNDLE")
						}
						return setUp(e, env)
					},
					Cmds: scriptCommands,
				})
			})
		})
	}
}

// TestUnreachable is about a bucket that nobody answers for. It waits for the
// retries, so -short leaves it out.
func TestUnreachable(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for retries")
	}

	testscript.Run(t, testscript.Params{
		Files: []string{filepath.Join("testdata", "unreachable.txtar")},
		Setup: func(e *testscript.Env) error {
			return setUp(e, map[string]string{
				// Nothing listens on port 1 of this machine.
				"BUCKET":            "s3://bucket?region=us-east-1&endpoint=" + url.QueryEscape("http://127.0.0.1:1"),
				"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret-7qPz+Vw3Lk9sXe2Rt8Yb5", "AWS_SESSION_TOKEN": "token-4mWn+Hb8Zs2Qx6Vy1Pc9",
			})
		},
		Cmds: scriptCommands,
	})
}
