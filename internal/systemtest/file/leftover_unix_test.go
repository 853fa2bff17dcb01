//go:build unix

package file_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestKilledVerify: the plain copy that a verification makes of an encrypted backup
// goes when it ends, and when it is killed, with the next one or the next database in
// memory. Until then nobody else can read it.
func TestKilledVerify(t *testing.T) {
	temp, bucket := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	store, err := objstore.Dir(bucket)
	systemtest.Check(t, err)
	cfg := systemtest.Config(t)
	cfg.Store, cfg.EncryptionKeys = store, []string{testKey}
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "secrets", 5)
	systemtest.Check(t, db.Flush(t.Context()))
	_, err = db.Snapshot(t.Context())
	systemtest.Check(t, err)
	systemtest.Some(t, db, "secrets", 5)
	systemtest.Check(t, db.Flush(t.Context()))
	rc := driftdb.RestoreConfig{Name: cfg.Name, Store: store, EncryptionKeys: cfg.EncryptionKeys}
	for stage, next := range map[string]func(t *testing.T){
		"replay": func(t *testing.T) {
			_, err := driftdb.Verify(t.Context(), rc)
			systemtest.Check(t, err)
		},
		"check": func(t *testing.T) { systemtest.Open(t, driftdb.Config{Name: "m", Path: ":memory:"}) },
	} {
		killed(t, waitInVerify, stage, bucket)
		if left := plainCopies(t, temp); left == 0 {
			t.Errorf("killed in stage %s, it has left nothing: this test sees nothing", stage)
		}
		t.Run("after "+stage, next)
		if left := plainCopies(t, temp); left != 0 {
			t.Errorf("killed in stage %s, %d plain copies stay", stage, left)
		}
	}
}

var testKey = systemtest.KeyOf("leftover")

// waitInVerify verifies, says when it has come to a stage, and goes no further.
var waitInVerify = subprocess.Register("waitInVerify", func(t testing.TB, args []string) {
	stage := args[0]
	store, err := objstore.Dir(args[1])
	systemtest.Check(t, err)
	_, err = driftdb.Verify(t.Context(), driftdb.RestoreConfig{
		Name: "app", Store: store, EncryptionKeys: []string{testKey},
		OnProgress: func(p driftdb.Progress) {
			if string(p.Stage) == stage {
				os.Stdout.WriteString("waiting\n")
				select {}
			}
		},
	})
	t.Fatalf("it came to its end: %v", err)
})

// plainCopies counts the files below dir that hold something, and fails where other
// users can get at one.
func plainCopies(t *testing.T, dir string) (n int) {
	t.Helper()
	systemtest.Check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		if e.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		if bytes.HasPrefix(data, []byte("SQLite format 3")) {
			n++
		}
		return err
	}))
	return n
}

// TestKilledSnapshot: neither does the plain copy stay that the snapshot of an encrypted
// backup is made from. That of a file is beside it, and goes when it is opened again;
// that of a database in memory goes with the next one, or the next verification.
func TestKilledSnapshot(t *testing.T) {
	temp, folder := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	file := filepath.Join(folder, "app.sqlite")
	backup := systemtest.Config(t)
	backup.EncryptionKeys = []string{testKey}
	db := systemtest.Open(t, backup)
	systemtest.Some(t, db, "t", 1)
	systemtest.Check(t, db.Flush(t.Context()))
	again := func(t *testing.T, path string) {
		systemtest.Open(t, driftdb.Config{Name: "app", Path: path})
	}
	for _, c := range []struct {
		path, what string
		next       func(t *testing.T)
	}{
		{file, "open", func(t *testing.T) { again(t, file) }},
		{":memory:", "open", func(t *testing.T) { again(t, ":memory:") }},
		{":memory:", "verify", func(t *testing.T) {
			_, err := driftdb.Verify(t.Context(), driftdb.RestoreConfig{Name: backup.Name, Store: backup.Store, EncryptionKeys: backup.EncryptionKeys})
			systemtest.Check(t, err)
		}},
	} {
		killed(t, waitInSnapshot, c.path)
		copies := func() (n int) {
			beside, err := filepath.Glob(file + "-driftdb") // which is gone when nothing is in it
			systemtest.Check(t, err)
			for _, dir := range append(beside, temp) {
				n += plainCopies(t, dir)
			}
			return n
		}
		if copies() == 0 {
			t.Errorf("%s: it has left nothing: this test sees nothing", c.path)
		}
		t.Run(filepath.Base(c.path)+" and "+c.what, c.next)
		if left := copies(); left != 0 {
			t.Errorf("after %s, %d plain copies of %s stay", c.what, left, c.path)
		}
	}
}

// waitInSnapshot says when a snapshot of the database at path is being stored.
var waitInSnapshot = subprocess.Register("waitInSnapshot", func(t testing.TB, args []string) {
	path := args[0]
	store := stuckStore{objstore.Mem()}
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "app", Path: path, Store: store, EncryptionKeys: []string{testKey}, ManualSync: true})
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS secrets(a)")
	systemtest.Exec(t, db, "INSERT INTO secrets VALUES('value 1')")
	systemtest.Check(t, db.Flush(t.Context()))
	_, err = db.Snapshot(t.Context())
	t.Fatalf("the snapshot was stored (%v)", err)
})

// stuckStore never stores a snapshot.
type stuckStore struct{ objstore.Store }

func (s stuckStore) Put(ctx context.Context, key string, r io.Reader, o objstore.PutOptions) (objstore.Info, error) {
	if strings.Contains(key, "/snapshots/") {
		os.Stdout.WriteString("waiting\n")
		select {}
	}
	return s.Store.Put(ctx, key, r, o)
}

// killed runs a function in another process, waits until it says that it waits, and kills it.
func killed(t *testing.T, f subprocess.Func, args ...string) {
	t.Helper()
	child := f.Command(t.Context(), args...)
	out, err := child.StdoutPipe()
	systemtest.Check(t, err)
	systemtest.Check(t, child.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "waiting\n" {
		t.Errorf("the child says %q (%v)", line, err)
	}
	systemtest.Check(t, child.Process.Kill())
	_ = child.Wait()
}
