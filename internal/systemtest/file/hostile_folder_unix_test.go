//go:build unix

package file_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// soon fails if a call still waits for somebody long after it should have ended.
func soon(t *testing.T, what string, call func(ctx context.Context) error) (err error) {
	t.Helper()
	systemtest.Within(t, what, func() { err = call(t.Context()) })
	return err
}

// TestLockOfAnother: an Open beside somebody's link or pipe in the place of the lock
// ends at once, and changes nothing of what that leads to.
func TestLockOfAnother(t *testing.T) {
	for what, put := range map[string]func(theirs, lock string) error{
		"a link": os.Symlink,
		"a link to a link": func(theirs, lock string) error {
			return errors.Join(os.Symlink(theirs, lock+"2"), os.Symlink(lock+"2", lock))
		},
		"a hard link": os.Link,
		"a pipe":      func(_, lock string) error { return syscall.Mkfifo(lock, 0o666) },
		"a link to a pipe": func(_, lock string) error {
			return errors.Join(syscall.Mkfifo(lock+"2", 0o666), os.Symlink(lock+"2", lock))
		},
		"a link to an absent": func(theirs, lock string) error { return os.Symlink(theirs+".new", lock) },
	} {
		cfg := systemtest.Config(t)
		theirs, text := filepath.Join(t.TempDir(), ".profile"), strings.Repeat("# a line of my own\n", 20)
		systemtest.Check(t, os.WriteFile(theirs, []byte(text), 0o600))
		systemtest.Check(t, put(theirs, cfg.Path+"-lock"))
		err := soon(t, "Open beside "+what, func(ctx context.Context) error { return openAndClose(ctx, cfg) })
		if err == nil || !strings.Contains(err.Error(), cfg.Path+"-lock") {
			t.Errorf("%s: %v", what, err)
		}
		if got, err := os.ReadFile(theirs); err != nil || string(got) != text {
			t.Errorf("%s: it leads to %q now (%v)", what, got, err)
		}
		if _, err := os.Lstat(theirs + ".new"); err == nil {
			t.Errorf("%s: what it leads to was made", what)
		}
	}
}

func openAndClose(ctx context.Context, cfg driftdb.Config) error {
	db, err := driftdb.Open(ctx, cfg)
	if err == nil {
		err = db.Close()
	}
	return err
}

// TestMemoryInSharedFolder: what strangers have in the folder for temporary files stops
// no database in memory.
func TestMemoryInSharedFolder(t *testing.T) {
	for what, put := range map[string]func(ours string) error{
		"a pipe in a folder that looks like ours": func(ours string) error {
			evil := filepath.Join(filepath.Dir(ours), "driftdb-memory-evil")
			return errors.Join(os.Mkdir(evil, 0o777), syscall.Mkfifo(filepath.Join(evil, "memory.sqlite-lock"), 0o666))
		},
		"a pipe in an open folder of our name": func(ours string) error {
			return errors.Join(os.Mkdir(ours, 0o777), os.Chmod(ours, 0o777), syscall.Mkfifo(filepath.Join(ours, "lock"), 0o666))
		},
		"a pipe of our name": func(ours string) error { return syscall.Mkfifo(ours, 0o666) },
		"a link of our name": func(ours string) error { return os.Symlink(filepath.Dir(ours), ours) },
		"a pipe of another such name": func(ours string) error {
			return errors.Join(os.WriteFile(ours, nil, 0o666), syscall.Mkfifo(ours+"1", 0o666))
		},
	} {
		temp := t.TempDir()
		t.Setenv("TMPDIR", temp)
		systemtest.Check(t, put(filepath.Join(temp, fmt.Sprintf("driftdb-%d", os.Getuid()))))
		if err := soon(t, ":memory: beside "+what, func(ctx context.Context) error {
			return openAndClose(ctx, driftdb.Config{Name: "m", Path: ":memory:"})
		}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestPipeInBucket: a pipe in the place of any object of a folder is an error at once.
// It is not a backup that is missing, so that none begins anew.
func TestPipeInBucket(t *testing.T) {
	bucket := t.TempDir()
	store, err := objstore.Dir(bucket)
	systemtest.Check(t, err)
	cfg := systemtest.Config(t)
	cfg.Store = store
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	_, err = db.Snapshot(t.Context())
	systemtest.Check(t, err)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(t.Context()))
	for _, key := range systemtest.Keys(t, store) {
		file := filepath.Join(bucket, filepath.FromSlash(key))
		systemtest.Check(t, os.Rename(file, file+".kept"))
		systemtest.Check(t, syscall.Mkfifo(file, 0o666))
		rc := driftdb.RestoreConfig{Name: cfg.Name, Store: store, Path: filepath.Join(t.TempDir(), "r.sqlite")}
		auto := driftdb.Config{Name: cfg.Name, Store: store, Path: filepath.Join(t.TempDir(), "a.sqlite"), AutoRestore: true, ManualSync: true}
		for what, call := range map[string]func(ctx context.Context) error{
			"Restore": func(ctx context.Context) error { _, err := driftdb.Restore(ctx, rc); return err },
			"Verify":  func(ctx context.Context) error { _, err := driftdb.Verify(ctx, rc); return err },
			"Open":    func(ctx context.Context) error { return openAndClose(ctx, auto) },
		} {
			err := soon(t, what, call)
			if strings.HasSuffix(key, "/manifest.json") && err == nil || errors.Is(err, driftdb.ErrNoBackup) {
				t.Errorf("%s with a pipe for %s: %v", what, key, err)
			}
		}
		systemtest.Check(t, os.Rename(file+".kept", file))
	}
}

// TestModes: a restored file is never wider than the one that it replaces; a new one,
// and a new database, have the mode of any new file; what lies beside a database lets
// nobody in who may not write that.
func TestModes(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(t.Context()))
	was := syscall.Umask(0)
	defer syscall.Umask(was)
	restoreOver := func(mode fs.FileMode) fs.FileMode {
		rc := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: filepath.Join(t.TempDir(), "r.sqlite"), Overwrite: true}
		if mode != 0 {
			systemtest.Check(t, os.WriteFile(rc.Path, nil, 0o600))
			systemtest.Check(t, os.Chmod(rc.Path, mode))
		}
		_, err := driftdb.Restore(t.Context(), rc)
		systemtest.Check(t, err)
		return modeOf(t, rc.Path)
	}
	for _, snapshot := range []bool{false, true} {
		if snapshot {
			_, err := db.Snapshot(t.Context())
			systemtest.Check(t, err)
		}
		for _, umask := range []int{0o022, 0o077, 0} {
			syscall.Umask(umask)
			for _, mode := range []fs.FileMode{0o600, 0o640, 0o664} {
				if got := restoreOver(mode); got != mode {
					t.Errorf("umask %o, in the place of %o: %o", umask, mode, got)
				}
			}
			fresh := 0o666 &^ fs.FileMode(umask)
			if got := restoreOver(0); got != fresh {
				t.Errorf("umask %o, a new file: %o", umask, got)
			}
			fresher := driftdb.Config{Name: "new", Path: filepath.Join(t.TempDir(), "new.sqlite")}
			n := systemtest.Open(t, fresher)
			systemtest.Some(t, n, "t", 1)
			lock := fs.FileMode(0o600)
			if umask == 0 {
				lock = 0o666
			}
			for suffix, want := range map[string]fs.FileMode{"": fresh, "-wal": fresh, "-shm": fresh, "-lock": lock} {
				if got := modeOf(t, fresher.Path+suffix); got != want {
					t.Errorf("umask %o: the new database's %q has %o, want %o", umask, suffix, got, want)
				}
			}
		}
	}
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	systemtest.Check(t, err)
	return info.Mode().Perm()
}
