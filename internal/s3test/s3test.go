// Package s3test runs a real S3 server for tests: versitygw, as a process of
// its own on a loopback port, over http or https.
package s3test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	// startTimeout is for a machine that is busy with other tests; the server
	// is ready after 0.2 s otherwise.
	startTimeout = time.Minute
	// portTries is how often a port is chosen anew because another program was
	// faster to listen on it.
	portTries = 5
)

// Server is a running S3 server with one account.
type Server struct {
	Endpoint  string // such as http://127.0.0.1:1234
	Region    string
	AccessKey string
	SecretKey string
	CACert    string // PEM file with the server's certificate; empty for http
	// Atomic is false where the temporary folder's file system has no extended
	// attributes: there the server may show one object's body with another's
	// ETag, and tests of races prove nothing.
	Atomic bool

	dir string
}

// Option changes how a server is started.
type Option func(*options)

type options struct{ tls bool }

// TLS makes the server speak https, with a certificate made on the spot.
func TLS() Option { return func(o *options) { o.tls = true } }

// Start runs a server until the test ends. The first test on a machine builds
// it, which takes minutes and the module proxy. With -short the test is
// skipped.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an S3 server, which -short leaves out")
	}
	program, err := build(t.Context())
	if err != nil {
		t.Fatalf("s3test: build the S3 server of tools/versitygw: %v", err)
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	srv := &Server{Region: "us-east-1", AccessKey: "AKIATEST" + rand.Text()[:12], SecretKey: rand.Text(), dir: t.TempDir()}
	args, scheme := []string(nil), "http://"
	if o.tls {
		cert, key, err := writeCertificate(srv.dir)
		if err != nil {
			t.Fatalf("s3test: make a certificate: %v", err)
		}
		args, scheme, srv.CACert = []string{"-cert", cert, "-key", key}, "https://", cert
	}
	for try := 1; ; try++ {
		addr, err := freeAddress()
		if err == nil {
			srv.Endpoint = scheme + addr
			err = srv.run(t, program, append(args, "-addr", addr))
		}
		if err == nil {
			return srv
		}
		if try == portTries {
			t.Fatalf("s3test: start the S3 server: %v", err)
		}
	}
}

// freeAddress is free at the moment; run may find it taken.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// run starts the process and waits until it serves. The process ends when its
// standard input is closed: by the cleanup, or by the death of this process.
func (s *Server) run(t testing.TB, program string, args []string) error {
	args = append(args, "-dir", filepath.Join(s.dir, "data"), "-access", s.AccessKey, "-secret", s.SecretKey)
	cmd := exec.Command(program, args...)
	var output syncBuffer
	cmd.Stderr = &output
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// A server that is stuck is killed, so that nothing here waits for ever.
	kill := time.AfterFunc(startTimeout, func() { _ = cmd.Process.Kill() })
	ready := waitReady(stdout)
	s.Atomic = ready == "ready"
	var drained sync.WaitGroup
	drained.Go(func() { _, _ = io.Copy(&output, stdout) })
	stop := func() error {
		_ = stdin.Close() // fails only if it is closed
		defer time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
		drained.Wait()
		return cmd.Wait()
	}
	if !kill.Stop() || ready == "" {
		return fmt.Errorf("it was not ready (%v): %s", stop(), output.String())
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Logf("s3test: the S3 server ended with %v: %s", err, output.String())
		}
	})
	return nil
}

// waitReady returns the server's word that it is ready, or nothing if it ends
// before that.
func waitReady(stdout io.Reader) string {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready") {
			return lines.Text()
		}
	}
	return ""
}

// NewBucket makes an empty bucket with a name of its own.
func (s *Server) NewBucket(t testing.TB) string {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text()[:16])
	if _, err := s.Client(t).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatalf("s3test: create bucket %s: %v", name, err)
	}
	return name
}

// Client returns a plain client for what a test has to do behind the back of
// the store, with the SDK's defaults.
func (s *Server) Client(t testing.TB) *s3.Client {
	t.Helper()
	client, err := httpClient(s.CACert)
	if err != nil {
		t.Fatalf("s3test: read the certificate: %v", err)
	}
	return s3.New(s3.Options{
		Region: s.Region, BaseEndpoint: aws.String(s.Endpoint), UsePathStyle: true, HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// syncBuffer collects the output of a process from two goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
