//go:build unix

package driftdb_test

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// killedIn names the stage at which the child process of TestKilledVerify waits.
const killedIn = "DRIFTDB_TEST_KILLED_IN"

// TestKilledVerify: the plain copy that a verification makes of an encrypted backup
// goes when it ends, and when it is killed, with the next one or the next database in
// memory. Until then nobody else can read it.
func TestKilledVerify(t *testing.T) {
	if stage := os.Getenv(killedIn); stage != "" {
		waitInVerify(t, stage)
		return
	}
	temp, bucket := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	store, err := objstore.Dir(bucket)
	check(t, err)
	cfg := config(t)
	cfg.Store, cfg.EncryptionKeys = store, []string{testKey}
	db := open(t, cfg)
	some(t, db, "secrets", 5)
	check(t, db.Flush(t.Context()))
	_, err = db.Snapshot(t.Context())
	check(t, err)
	some(t, db, "secrets", 5)
	check(t, db.Flush(t.Context()))
	rc := driftdb.RestoreConfig{Name: cfg.Name, Store: store, EncryptionKeys: cfg.EncryptionKeys}
	for stage, next := range map[string]func(t *testing.T){
		"replay": func(t *testing.T) {
			_, err := driftdb.Verify(t.Context(), rc)
			check(t, err)
		},
		"check": func(t *testing.T) { open(t, driftdb.Config{Name: "m", Path: ":memory:"}) },
	} {
		child := osexec.Command(os.Args[0], "-test.run=^TestKilledVerify$")
		child.Env = append(os.Environ(), killedIn+"="+stage, "DRIFTDB_TEST_BUCKET="+bucket)
		out, err := child.StdoutPipe()
		check(t, err)
		check(t, child.Start())
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "waiting\n" {
			t.Errorf("the child says %q (%v)", line, err)
		}
		check(t, child.Process.Kill())
		_ = child.Wait()
		if left := plainCopies(t, temp); left == 0 {
			t.Errorf("killed in stage %s, it has left nothing: this test sees nothing", stage)
		}
		t.Run("after "+stage, next)
		if left := plainCopies(t, temp); left != 0 {
			t.Errorf("killed in stage %s, %d plain copies stay", stage, left)
		}
	}
}

const testKey = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"

// waitInVerify verifies, says when it has come to a stage, and goes no further.
func waitInVerify(t *testing.T, stage string) {
	store, err := objstore.Dir(os.Getenv("DRIFTDB_TEST_BUCKET"))
	check(t, err)
	_, err = driftdb.Verify(t.Context(), driftdb.RestoreConfig{
		Name: "app", Store: store, EncryptionKeys: []string{testKey},
		OnProgress: func(p driftdb.Progress) {
			if p.Stage == stage {
				os.Stdout.WriteString("waiting\n")
				select {}
			}
		},
	})
	t.Fatalf("it came to its end: %v", err)
}

// plainCopies counts the files below dir that hold something, and fails where other
// users can get at one.
func plainCopies(t *testing.T, dir string) (n int) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
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
