//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestNamedPipe: neither the opening of a named pipe nor a read of it outlasts an interruption.
func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	check(t, syscall.Mkfifo(path, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openSource(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}

	w, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer w.Close()
	_, err = w.WriteString("a,b\n1,2\n")
	check(t, err)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	s, err := openSource(ctx, path, nil)
	check(t, err)
	defer s.Close()
	if s.again() {
		t.Error("a pipe cannot be read again")
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(s.text)
		read <- err
	}()
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
}
