// Command versitygw is a real S3 server for DriftDB's tests: the posix backend of
// github.com/versity/versitygw on a loopback address.
//
// It is a separate module and process, because the gateway has many dependencies, keeps
// global state and changes the working directory. It prints "ready" on standard output
// when it serves, or "ready, not atomic" if the file system has no extended attributes. It
// ends when its standard input is closed, so it never outlives the test that started it.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "versitygw:", err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("dir", "", "folder for objects and metadata; made if missing")
	addr := flag.String("addr", "", "loopback host:port to listen on")
	access := flag.String("access", "", "access key id")
	secret := flag.String("secret", "", "secret access key")
	cert := flag.String("cert", "", "TLS certificate file; with -key the server speaks https")
	key := flag.String("key", "", "TLS key file")
	flag.Parse()

	store, atomic, err := newBackend(*dir)
	if err != nil {
		return err
	}
	health := "/" + rand.Text()
	done := make(chan error, 1)
	go func() {
		done <- embedgw.RunVersityGW(context.Background(), store, &embedgw.Config{
			RootUserAccess: *access, RootUserSecret: *secret,
			Ports: []string{*addr}, CertFile: *cert, KeyFile: *key,
			HealthPath: health, Quiet: true, KeepAlive: true,
			MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10000,
		})
	}()
	scheme := "http://"
	if *cert != "" {
		scheme = "https://"
	}
	if err := waitHealthy(scheme+*addr+health, done); err != nil {
		return err
	}
	if atomic {
		fmt.Println("ready")
	} else {
		fmt.Println("ready, not atomic")
	}
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // an unreadable input is as good as a closed one
		close(closed)
	}()
	select {
	case err := <-done:
		return err
	case <-closed:
		return nil // without the gateway's goodbye, which waits for idle connections
	}
}

// newBackend keeps metadata in extended attributes, which change together with the object.
// If there are none it uses separate files: then a reader can see one object's body with
// another's ETag, and updates can get lost.
func newBackend(dir string) (store backend.Backend, atomic bool, err error) {
	objects, sidecar := filepath.Join(dir, "objects"), filepath.Join(dir, "metadata")
	if err := errors.Join(os.MkdirAll(objects, 0o700), os.MkdirAll(sidecar, 0o700)); err != nil {
		return nil, false, err
	}
	if err := (meta.XattrMeta{}).Test(objects); err == nil {
		store, err := posix.New(objects, meta.XattrMeta{}, posix.PosixOpts{})
		return store, true, err
	}
	files, err := meta.NewSideCar(sidecar)
	if err != nil {
		return nil, false, err
	}
	store, err = posix.New(objects, files, posix.PosixOpts{SideCarDir: sidecar})
	return store, false, err
}

// waitHealthy requests a path that only this server knows, so that another program on the
// same port is not mistaken for it.
func waitHealthy(url string, done <-chan error) error {
	client := &http.Client{
		Timeout:   time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := client.Get(url); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-done:
			return fmt.Errorf("the server ended before it was ready: %w", err)
		case <-tick.C:
		}
	}
}
