package faults_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
)

// TestTooManyFiles: a process that may open no more files is told so, and what to do,
// wherever in Open it runs out of them.
func TestTooManyFiles(t *testing.T) {
	out, err := openWithFewFiles.Command(t.Context()).CombinedOutput() // the limit is the process's
	t.Logf("%s", out)
	systemtest.Check(t, err)
}

// openWithFewFiles lets Open run out of files at its first one, at its second, and so on.
var openWithFewFiles = subprocess.Register("openWithFewFiles", func(t testing.TB, _ []string) {
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "a.sqlite")}
	refused := 0
	for _, fresh := range []bool{false, true} {
		for more := 0; ; more++ {
			if fresh {
				cfg.Path = filepath.Join(t.TempDir(), "new.sqlite")
			} else {
				openWithFiles(t, cfg, 100) // makes it
			}
			err := openWithFiles(t, cfg, more)
			if err == nil {
				break
			}
			refused++
			t.Logf("%d more: %v", more, err)
			if !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "too many open files") || !strings.Contains(err.Error(), "ulimit -n") {
				t.Errorf("with room for %d more files: %v", more, err)
			}
		}
	}
	if refused < 6 {
		t.Errorf("Open failed %d times only", refused)
	}
})

// openWithFiles opens and closes a database in a process that may open so many more
// files.
func openWithFiles(t testing.TB, cfg driftdb.Config, more int) error {
	var was syscall.Rlimit
	systemtest.Check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	systemtest.Check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limitFor(t, more), Max: was.Max}))
	db, err := driftdb.Open(t.Context(), cfg)
	if err == nil {
		err = db.Close()
	}
	systemtest.Check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was))
	return err
}

// limitFor is the limit under which so many more files can be opened: it bounds their
// numbers, and those in use may have gaps, such as between what the process was given.
func limitFor(t testing.TB, more int) uint64 {
	limit := 0
	for range more + 1 {
		f, err := os.Open(os.DevNull)
		systemtest.Check(t, err)
		defer f.Close()
		limit = int(f.Fd())
	}
	return uint64(limit)
}
