package dbtest

import (
	"os"
	"testing"
)

// Symlink makes a symbolic link. Where that cannot be, the test is skipped: Windows lets
// only some users make one, and Wine says that it has made one, and has not.
func Symlink(t testing.TB, target, link string) {
	t.Helper()
	err := os.Symlink(target, link)
	if err == nil {
		_, err = os.Readlink(link)
	}
	if err != nil {
		t.Skip("no symbolic links here:", err)
	}
}
