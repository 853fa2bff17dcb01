//go:build !windows

package objstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// notFiles are what somebody who shares a folder can put there in place of a file.
var notFiles = map[string]func(path string) error{
	"a pipe": func(path string) error { return syscall.Mkfifo(path, 0o666) },
	"a socket": func(path string) error {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err == nil {
			l.SetUnlinkOnClose(false)
			err = l.Close()
		}
		return err
	},
}

// atOnce fails if a call waits for somebody to write to a pipe.
func atOnce(t *testing.T, what string, call func(ctx context.Context) error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call(t.Context()) }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s waits for ever", what)
		return nil
	}
}

// TestDirPipes: an object that is no file is an error at once. It is not missing, and
// can be replaced and deleted.
func TestDirPipes(t *testing.T) {
	for what, put := range notFiles {
		dir := shortDir(t)
		s, err := Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "a"), 0o700), put(filepath.Join(dir, "a", "manifest.json"))); err != nil {
			t.Fatal(err)
		}
		err = atOnce(t, "Get of "+what, func(ctx context.Context) error {
			_, _, err := s.Get(ctx, "a/manifest.json", GetOptions{})
			return err
		})
		if err == nil || errors.Is(err, fs.ErrNotExist) || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Get of %s: %v", what, err)
		}
		err = atOnce(t, "Put over "+what, func(ctx context.Context) error {
			_, err := s.Put(ctx, "a/manifest.json", strings.NewReader("x"), PutOptions{IfMatch: Matching("etag")})
			return err
		})
		if err == nil {
			t.Errorf("Put over %s that has no ETag: no error", what)
		}
		err = atOnce(t, "List of "+what, func(ctx context.Context) error {
			for info, err := range s.List(ctx, "a/manifest.json/", ListOptions{}) {
				if err != nil {
					return nil // it is no folder
				}
				t.Errorf("%s is listed: %v", what, info)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if _, err := s.Put(t.Context(), "a/manifest.json", strings.NewReader("x"), PutOptions{}); err != nil {
			t.Errorf("Put in the place of %s: %v", what, err)
		}
		if body, _, err := s.Get(t.Context(), "a/manifest.json", GetOptions{}); err != nil {
			t.Error(err)
		} else if text, err := io.ReadAll(body); err != nil || string(text) != "x" || body.Close() != nil {
			t.Errorf("what was put: %q, %v", text, err)
		}
	}
}

// TestDirOwnFiles: the store's own files are what they are called, or the call fails
// at once, and nothing that a link leads to is touched.
func TestDirOwnFiles(t *testing.T) {
	for _, own := range []string{markFile, lockFile, tempDir} {
		puts := map[string]func(path string) error{"a link": func(path string) error { return os.Symlink("../a", path) }}
		for what, put := range notFiles {
			puts[what] = put
		}
		for what, put := range puts {
			dir := shortDir(t)
			object, old := filepath.Join(dir, "a", "object"), time.Now().Add(-2*tempAge)
			if own != tempDir {
				object = filepath.Join(dir, "a")
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(object), 0o700), os.WriteFile(object, []byte("precious"), 0o600), os.Chtimes(object, old, old),
				os.Mkdir(filepath.Join(dir, privateDir), 0o700), put(filepath.Join(dir, own))); err != nil {
				t.Fatal(err)
			}
			err := atOnce(t, "Put beside "+what+" in the place of "+own, func(ctx context.Context) error {
				s, err := Dir(dir)
				if err == nil {
					_, err = s.Put(ctx, "b", strings.NewReader("x"), PutOptions{})
				}
				return err
			})
			if err == nil {
				t.Errorf("Put beside %s in the place of %s: no error", what, own)
			}
			if text, err := os.ReadFile(object); err != nil || string(text) != "precious" {
				t.Errorf("%s in the place of %s: the object is %q now (%v)", what, own, text, err)
			}
		}
	}
}

// shortDir is a folder with a short path, as sockets need.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
