package systemtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/driftdb/driftdb-go"
)

// CopyDatabase copies a closed database with its lock file.
func CopyDatabase(from, to string) error {
	return errors.Join(CopyFile(from, to), CopyFile(from+"-lock", to+"-lock"))
}

// CopyClosed copies a closed database, with its times and the clean-shutdown marker, and
// returns the configuration for the copy.
func CopyClosed(t testing.TB, cfg driftdb.Config) driftdb.Config {
	t.Helper()
	from := cfg.Path
	cfg.Path = filepath.Join(t.TempDir(), "copy.sqlite")
	Check(t, errors.Join(CopyFile(from, cfg.Path), CopyFile(from+"-lock", cfg.Path+"-lock")))
	return cfg
}

// CloneDisk copies a database that is in use, as a crash would leave it. Opening and
// closing the files drops SQLite's locks on them, which protect them from other processes;
// here there are none.
func CloneDisk(from, to string) error {
	for range 1000 {
		// A checkpoint may move pages from the WAL to the file meanwhile. That does no
		// harm while the WAL still has them, that is, until the WAL restarts with another
		// salt in its header.
		before, err := readOrNone(from + "-wal")
		if err != nil {
			return err
		}
		if err := CopyFile(from, to); err != nil {
			return err
		}
		wal, err := readOrNone(from + "-wal")
		if err != nil {
			return err
		}
		const header = 32
		if bytes.Equal(before[:min(header, len(before))], wal[:min(header, len(wal))]) {
			return errors.Join(os.WriteFile(to+"-wal", wal, 0o600), CopyFile(from+"-lock", to+"-lock"))
		}
	}
	return errors.New("the WAL never came to rest")
}

// CopyFile copies a file and its time, which tells whether the file was written to.
func CopyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, data, 0o600), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

func readOrNone(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// MemoryDir returns a folder that is in memory where possible, because long random tests
// would spend most of their time waiting for fsync.
func MemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "driftdb-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Exists reports whether there is a file.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// NeedsCopies skips a test where disks cannot be copied while they are in use.
func NeedsCopies(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a disk is copied by cp while it is in use")
	}
}

// CopyDisk copies a database's files while the database is in use, as a snapshot of the
// volume would. Another process must do that: opening and closing one of SQLite's files
// would drop this process's locks on it.
func CopyDisk(ctx context.Context, from, to string) error {
	for _, suffix := range []string{"", "-wal"} {
		if !Exists(from + suffix) {
			continue
		}
		if out, err := exec.CommandContext(ctx, "cp", from+suffix, to+suffix).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}
