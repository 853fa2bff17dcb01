package dbfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	"golang.org/x/sys/unix"
)

// accessFor is an access control list in the kernel's form: the owner may read and
// write, and so may one other user; the group may read.
func accessFor(user uint32) []byte {
	const none = 1<<32 - 1
	list := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, none}, {2, 6, user}, {4, 4, none}, {16, 6, none}, {32, 0, none}} {
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.perm)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	return list
}

func listOf(t *testing.T, path string) []byte {
	t.Helper()
	list := make([]byte, 1024)
	n, err := unix.Lgetxattr(path, accessList, list)
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	must(t, err)
	return list[:n]
}

// TestReplaceACL: the new file lets in whom the old one let in, whatever the folder
// gives to new files.
func TestReplaceACL(t *testing.T) {
	for _, c := range []struct{ folder, file []byte }{{nil, accessFor(1234)}, {accessFor(1235), nil}, {accessFor(1235), accessFor(1234)}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "app.sqlite")
		f := take(t, path)
		database(t, path, sqlite.Options{KeepJournal: true}, "CREATE TABLE t(x); INSERT INTO t VALUES('old')")
		must(t, os.Chmod(path, 0o640))
		if c.folder != nil {
			if err := unix.Setxattr(dir, "system.posix_acl_default", c.folder, 0); errors.Is(err, unix.EOPNOTSUPP) {
				t.Skip("this file system has no access control lists")
			} else {
				must(t, err)
			}
		}
		if c.file != nil {
			if err := unix.Setxattr(path, accessList, c.file, 0); errors.Is(err, unix.EOPNOTSUPP) {
				t.Skip("this file system has no access control lists")
			} else {
				must(t, err)
			}
		}
		before, err := os.Stat(path)
		must(t, err)
		_, err = replace(f, finished(t, path), true)
		must(t, err)
		after, err := os.Stat(path)
		must(t, err)
		if got := listOf(t, path); !bytes.Equal(got, c.file) || after.Mode() != before.Mode() {
			t.Errorf("the list of the new file is %x, mode %v; want %x, %v", got, after.Mode(), c.file, before.Mode())
		}
		if read(t, path, content) != "new" {
			t.Error("it was not replaced")
		}
	}
}
