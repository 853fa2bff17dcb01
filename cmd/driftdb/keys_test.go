package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestKeyFileOfOthers: a key file that others may read or write is told, and used.
func TestKeyFileOfOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing there")
	}
	file := filepath.Join(t.TempDir(), "keys")
	key := strings.Repeat("5e", 32)
	check(t, os.WriteFile(file, []byte(key+"\n"), 0o600))
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o644: true, 0o640: true, 0o604: true, 0o622: true, 0o711: false} {
		check(t, os.Chmod(file, mode))
		var out, errs bytes.Buffer
		run(t.Context(), []string{"status", "--store", folderURL(t.TempDir()), "--key-file", file}, strings.NewReader(""), &out, &errs)
		if text := errs.String(); warned != strings.Contains(text, "warning: other users may read or write the key file") || strings.Contains(text, key) {
			t.Errorf("%o: %q", mode, text)
		}
	}
	// A pipe, as a shell makes one, is read once.
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	_, err = w.WriteString(key + "\n")
	check(t, err)
	check(t, w.Close())
	if runtime.GOOS == "linux" {
		pipe := fmt.Sprintf("/proc/self/fd/%d", r.Fd())
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"status", "--store", folderURL(t.TempDir()), "--key-file", pipe}, strings.NewReader(""), &out, &errs); code != exitDone || strings.Contains(errs.String(), "warning") {
			t.Errorf("a pipe: %d, %q", code, errs.String())
		}
	}
}
