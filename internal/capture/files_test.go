package capture_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// openFiles is how many descriptors this process has below dir.
func openFiles(t testing.TB, dir string) (n int) {
	t.Helper()
	const fds = "/proc/self/fd"
	list, err := os.ReadDir(fds)
	if err != nil {
		t.Skip("this system does not list descriptors")
	}
	for _, fd := range list {
		if name, err := os.Readlink(filepath.Join(fds, fd.Name())); err == nil && strings.HasPrefix(name, dir+"/") {
			n++
		}
	}
	return n
}
