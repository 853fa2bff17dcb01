package past_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// looksBack is another process, which opens a view of the backup in a folder and waits.
var looksBack = subprocess.Register("looks back", func(t testing.TB, args []string) {
	store, err := objstore.Dir(args[0])
	systemtest.Check(t, err)
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: "app", Store: store})
	systemtest.Check(t, err)
	v, err := b.View(t.Context(), driftdb.Point{})
	systemtest.Check(t, err)
	fmt.Println(systemtest.Count(t, v, "t"))
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
})

// TestViewKilled: what a killed process leaves of its view goes with the next one.
func TestViewKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	files := temporary(t)
	folder := filepath.Join(t.TempDir(), "store")
	systemtest.Check(t, os.Mkdir(folder, 0o700))
	cfg := systemtest.Config(t)
	cfg.Store = systemtest.Must(objstore.Dir(folder))
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(t.Context()))
	cmd := looksBack.Command(t.Context(), folder)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	systemtest.Check(t, err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	systemtest.Check(t, err)
	systemtest.Check(t, cmd.Start())
	var rows int
	if _, err := fmt.Fscan(out, &rows); err != nil || rows != 3 {
		t.Errorf("the other process sees %d rows, %v", rows, err)
	}
	systemtest.Check(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	left := files()
	if len(left) == 0 {
		t.Error("the killed process has left nothing, so nothing is tried here")
	}
	v := view(t, db.Backup(), driftdb.Point{})
	for _, file := range left {
		if filepath.Base(file) != "lock" && systemtest.Exists(file) {
			t.Errorf("%s is left", file)
		}
	}
	systemtest.Check(t, v.Close())
	if left := files(); len(left) > 0 {
		t.Errorf("left at the end: %q", left)
	}
}
