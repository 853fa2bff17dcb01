package worldtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// refusal is one way in which Open refuses.
type refusal struct {
	name string
	want string // in the error
	// prepare makes what is in the place, by a mode that it came with. It may change
	// the configuration, and return what has to be done when Open has refused.
	prepare func(t *testing.T, cfg *driftdb.Config, mode string) (after func())
}

const (
	oneKey     = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	anotherKey = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

// foreign makes a database that DriftDB has never seen.
func foreign(t *testing.T, path, mode, more string) {
	t.Helper()
	leave(t, path, mode, more, "CREATE TABLE mine(a TEXT, b); INSERT INTO mine VALUES('x', 1), ('y', 2)")
}

// leave runs two scripts on the database at path, and leaves it in a journal mode;
// killed is WAL, and what the second script does is in the -wal only.
func leave(t *testing.T, path, mode, first, second string) {
	t.Helper()
	if mode != killed {
		script(t, path, first+"; PRAGMA journal_mode="+mode+"; "+second)
		return
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere.sqlite")
	if _, err := os.Lstat(path); err == nil {
		copyFile(t, path, elsewhere)
	}
	c := plain(t, elsewhere)
	systemtest.Check(t, c.Exec(first+"; PRAGMA journal_mode=WAL; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint=0; "+second))
	copyFile(t, elsewhere, path)
	copyFile(t, elsewhere+"-wal", path+"-wal")
	systemtest.Check(t, c.Close())
}

const killed = "a WAL that is left"

// ours makes a database of DriftDB, closes it, and runs a script on it.
func ours(t *testing.T, cfg driftdb.Config, mode, more string) {
	t.Helper()
	db, err := driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	_, err = db.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS mine(a TEXT, b); INSERT INTO mine VALUES('x', 1)")
	systemtest.Check(t, err)
	if cfg.Store != nil {
		systemtest.Check(t, db.Flush(t.Context()))
	}
	systemtest.Check(t, db.Close())
	leave(t, cfg.Path, mode, "", "INSERT INTO mine VALUES('later', 2); "+more)
}

// edit changes a file's bytes.
func edit(t *testing.T, path string, fn func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	systemtest.Check(t, err)
	systemtest.Check(t, os.WriteFile(path, fn(b), 0o644))
}

// onlyFile is a refusal for what is in a file that DriftDB has never seen.
func onlyFile(name, want, first string) refusal {
	return refusal{name, want, func(t *testing.T, cfg *driftdb.Config, mode string) func() {
		foreign(t, cfg.Path, mode, first)
		return nil
	}}
}

// damaged is a refusal for bytes of a file that DriftDB has never seen, and which
// its WAL, if there is one, does not make good.
func damaged(name, want, first string, fn func(b []byte) []byte) refusal {
	return refusal{name, want, func(t *testing.T, cfg *driftdb.Config, mode string) func() {
		whole := filepath.Join(t.TempDir(), "whole.sqlite")
		foreign(t, whole, "DELETE", first)
		if mode != "DELETE" {
			script(t, whole, "PRAGMA journal_mode=WAL; CREATE TABLE more(a)")
		}
		edit(t, whole, fn)
		copyFile(t, whole, cfg.Path)
		if mode == killed {
			t.Skip("a WAL cannot be written behind what is damaged")
		}
		return nil
	}}
}

// onlyConfig is a refusal for what is asked for.
func onlyConfig(name, want string, fn func(cfg *driftdb.Config)) refusal {
	return refusal{name, want, func(t *testing.T, cfg *driftdb.Config, mode string) func() {
		foreign(t, cfg.Path, mode, "")
		fn(cfg)
		return nil
	}}
}

// ofBucket is a refusal for what a bucket holds under the file's name, which
// another database has put there.
func ofBucket(name, want string, file bool, fn func(t *testing.T, cfg *driftdb.Config)) refusal {
	return refusal{name, want, func(t *testing.T, cfg *driftdb.Config, mode string) func() {
		other := *cfg
		var err error
		other.Path = filepath.Join(t.TempDir(), "other.sqlite")
		other.Store, err = objstore.Dir(t.TempDir())
		systemtest.Check(t, err)
		other.EncryptionKeys = []string{oneKey}
		ours(t, other, mode, "")
		if file {
			foreign(t, cfg.Path, mode, "")
		}
		cfg.Store, cfg.EncryptionKeys = other.Store, other.EncryptionKeys
		fn(t, cfg)
		return nil
	}}
}

func refusals() []refusal {
	return append(slices.Concat(refusedFiles(), refusedConfigs(), refusedByOthers()), refusedBuckets()...)
}

func refusedFiles() []refusal {
	return []refusal{
		onlyFile("UTF-16", "text encoding", "PRAGMA encoding='UTF-16le'"),
		{"text", "no SQLite database", func(t *testing.T, cfg *driftdb.Config, _ string) func() {
			systemtest.Check(t, os.WriteFile(cfg.Path, []byte(strings.Repeat("a diary\n", 500)), 0o600))
			return nil
		}},
		damaged("cut off", "damaged", "", func(b []byte) []byte { return b[:len(b)-4096] }),
		damaged("cut off within a page", "cut off", "CREATE TABLE last(a)", func(b []byte) []byte { return b[:len(b)-100] }),
		damaged("schema", "damaged", "", func(b []byte) []byte { clear(b[100:300]); return b }),
		damaged("a table's page", "damaged", "CREATE TABLE x(a); CREATE TABLE y(a); CREATE TABLE z(a); DROP TABLE x; DROP TABLE y; DROP TABLE z", func(b []byte) []byte {
			b[4096+3] ^= 0xff
			b[8192+3] ^= 0xff
			return b
		}),
		damaged("a free page that is in use", "damaged", "CREATE TABLE gone(a); DROP TABLE gone", func(b []byte) []byte {
			// the free list begins at the page of a table
			binary.BigEndian.PutUint32(b[32:], 2)
			binary.BigEndian.PutUint32(b[36:], 1)
			return b
		}),
		damaged("format of the schema", "unsupported file format", "", func(b []byte) []byte { b[47] = 9; return b }),
		damaged("write version", "later version", "", func(b []byte) []byte { b[18] = 3; return b }),
		onlyFile("a table that has our name", "_driftdb_log", "CREATE TABLE _driftdb_log(mine)"),
		onlyFile("a view that has our name", "_driftdb_queue", "CREATE VIEW _driftdb_queue AS SELECT 1"),
		{"a table of our module", "driftdb_capture", func(t *testing.T, cfg *driftdb.Config, mode string) func() {
			leave(t, cfg.Path, mode, "CREATE TABLE mine(a)", `PRAGMA writable_schema=ON;
				INSERT INTO sqlite_schema VALUES('table', 'spy', 'spy', 0, 'CREATE VIRTUAL TABLE spy USING Driftdb_Capture(1, 0)')`)
			return nil
		}},
		{"format of writes", "", func(t *testing.T, cfg *driftdb.Config, _ string) func() {
			foreign(t, cfg.Path, "DELETE", "")
			edit(t, cfg.Path, func(b []byte) []byte { b[18] = 3; return b })
			return nil
		}},
		{"another name", "belongs to the database", func(t *testing.T, cfg *driftdb.Config, mode string) func() {
			ours(t, *cfg, mode, "")
			cfg.Name = "other"
			return nil
		}},
		{"a newer version", "newer version", func(t *testing.T, cfg *driftdb.Config, mode string) func() {
			ours(t, *cfg, mode, "UPDATE _driftdb_meta SET value = 99 WHERE key = 'format'")
			return nil
		}},
		{"a folder", "folder", func(t *testing.T, cfg *driftdb.Config, _ string) func() {
			systemtest.Check(t, os.MkdirAll(cfg.Path, 0o755))
			return nil
		}},
	}
}

func refusedConfigs() []refusal {
	return []refusal{
		onlyConfig("name", "Name", func(cfg *driftdb.Config) { cfg.Name = "../up" }),
		onlyConfig("node", "NodeID", func(cfg *driftdb.Config) { cfg.NodeID = "a/b" }),
		onlyConfig("interval", "SyncInterval", func(cfg *driftdb.Config) { cfg.SyncInterval = -1 }),
		onlyConfig("restore from nowhere", "AutoRestore", func(cfg *driftdb.Config) { cfg.AutoRestore = true }),
		onlyConfig("key", "key", func(cfg *driftdb.Config) { cfg.Store, cfg.EncryptionKeys = objstore.Mem(), []string{"short"} }),
		onlyConfig("two stores", "both", func(cfg *driftdb.Config) { cfg.Store, cfg.S3 = objstore.Mem(), &driftdb.S3Config{Bucket: "b"} }),
		onlyConfig("OnConnect", "no dictionary", func(cfg *driftdb.Config) {
			cfg.OnConnect = func(context.Context, *driftdb.Registrar) error { return errors.New("no dictionary") }
		}),
		{"OnConnect, and no file", "no dictionary", func(_ *testing.T, cfg *driftdb.Config, _ string) func() {
			cfg.OnConnect = func(context.Context, *driftdb.Registrar) error { return errors.New("no dictionary") }
			return nil
		}},
	}
}

func refusedByOthers() []refusal {
	return []refusal{
		{"a second Open", "open elsewhere", func(t *testing.T, cfg *driftdb.Config, mode string) func() {
			ours(t, *cfg, mode, "")
			db, err := driftdb.Open(t.Context(), *cfg)
			systemtest.Check(t, err)
			return func() { systemtest.Check(t, db.Close()) }
		}},
		noRight("a file that may only be read", "app.sqlite", 0o444),
		noRight("a file that may not be read", "app.sqlite", 0),
		noRight("a folder that may only be read", ".", 0o555),
		{"another program writes", "locked", func(t *testing.T, cfg *driftdb.Config, mode string) func() {
			foreign(t, cfg.Path, mode, "")
			c := plain(t, cfg.Path)
			systemtest.Check(t, c.Exec("BEGIN IMMEDIATE"))
			cfg.BusyTimeout = 50 * time.Millisecond
			return func() { systemtest.Check(t, c.Close()) }
		}},
		{"another program reads", "locked", func(t *testing.T, cfg *driftdb.Config, mode string) func() {
			foreign(t, cfg.Path, "DELETE", "")
			c := plain(t, cfg.Path)
			systemtest.Check(t, c.Exec("BEGIN; SELECT * FROM mine"))
			cfg.BusyTimeout = 50 * time.Millisecond
			return func() { systemtest.Check(t, c.Close()) }
		}},
	}
}

// noRight is a refusal for what this user may not do.
func noRight(name, what string, mode os.FileMode) refusal {
	return refusal{name, "", func(t *testing.T, cfg *driftdb.Config, journal string) func() {
		if os.Geteuid() <= 0 {
			t.Skip("this user may do everything, or has no such rights")
		}
		foreign(t, cfg.Path, journal, "")
		path := filepath.Join(filepath.Dir(cfg.Path), what)
		systemtest.Check(t, os.WriteFile(filepath.Join(filepath.Dir(cfg.Path), "somebody's.txt"), []byte("else"), 0o644))
		systemtest.Check(t, os.Chmod(path, mode))
		return func() { systemtest.Check(t, os.Chmod(path, 0o755)) }
	}}
}

func refusedBuckets() []refusal {
	manifest := func(t *testing.T, cfg *driftdb.Config, from, to string) {
		files, err := filepath.Glob(filepath.Join(t.TempDir(), "..", "*", "databases", cfg.Name, "manifest.json*"))
		systemtest.Check(t, err)
		if len(files) != 1 {
			t.Fatalf("where is the manifest? %q", files)
		}
		edit(t, files[0], func(b []byte) []byte {
			if !bytes.Contains(b, []byte(from)) {
				t.Fatalf("the manifest has no %s:\n%s", from, b)
			}
			return bytes.Replace(b, []byte(from), []byte(to), 1)
		})
	}
	return []refusal{
		ofBucket("another history", "diverged", true, func(*testing.T, *driftdb.Config) {}),
		ofBucket("another writer", "has a writer: node", false, func(t *testing.T, cfg *driftdb.Config) {
			held := *cfg // by a node that has died
			held.Path, held.AutoRestore, held.RefuseTakeover, held.CloseTimeout = filepath.Join(t.TempDir(), "held.sqlite"), true, true, -1
			db, err := driftdb.Open(t.Context(), held)
			systemtest.Check(t, errors.Join(err, db.Close()))
			cfg.RefuseTakeover, cfg.AutoRestore = true, true
		}),
		ofBucket("wrong key", "key", true, func(_ *testing.T, cfg *driftdb.Config) { cfg.EncryptionKeys = []string{anotherKey} }),
		ofBucket("no key", "key", true, func(_ *testing.T, cfg *driftdb.Config) { cfg.EncryptionKeys = nil }),
		ofBucket("wrong key, and no file", "key", false, func(_ *testing.T, cfg *driftdb.Config) {
			cfg.EncryptionKeys, cfg.AutoRestore = []string{anotherKey}, true
		}),
		ofBucket("newer manifest", "newer version", true, func(t *testing.T, cfg *driftdb.Config) {
			manifest(t, cfg, "DRIFTENC\x01", "DRIFTENC\x63")
		}),
		ofBucket("damaged manifest, and no file", "damaged", false, func(t *testing.T, cfg *driftdb.Config) {
			manifest(t, cfg, "DRIFTENC", "DRIFTENK")
			cfg.AutoRestore = true
		}),
	}
}

// TestRefused: whatever makes Open refuse, the folder is as it was before, byte for
// byte, whichever journal mode the database in it has, and whatever lies beside it.
func TestRefused(t *testing.T) {
	for _, r := range refusals() {
		for _, mode := range []string{"DELETE", "WAL", killed} {
			t.Run(r.name+"/"+mode, func(t *testing.T) {
				dir := folder(t)
				cfg := driftdb.Config{Name: "app", Path: filepath.Join(dir, "app.sqlite")}
				after := r.prepare(t, &cfg, mode)
				if after == nil {
					systemtest.Check(t, os.WriteFile(filepath.Join(dir, "somebody's.txt"), []byte("else"), 0o644))
				}
				before := listing(t, dir, after != nil)
				db, err := driftdb.Open(t.Context(), cfg)
				if err == nil {
					systemtest.Check(t, db.Close())
					t.Fatal("it is not refused")
				}
				if !strings.Contains(err.Error(), r.want) {
					t.Errorf("%v; want %q", err, r.want)
				}
				if now := listing(t, dir, after != nil); now != before {
					t.Errorf("%v\nbefore:\n%s\nafter:\n%s", err, before, now)
				}
				if after != nil {
					after()
				}
			})
		}
	}
}

// TestNotRefused: what this program lacks, and what is wrong with rows only, is no
// reason to refuse a file.
func TestNotRefused(t *testing.T) {
	const hack = "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, "
	for name, more := range map[string]string{
		"collation":     "CREATE TABLE u(a TEXT COLLATE NOCASE PRIMARY KEY);" + hack + "'NOCASE', 'klingon')",
		"function":      "CREATE TABLE u(a, CHECK(abs(a) > 0));" + hack + "'abs', 'warp')",
		"tokenizer":     "CREATE VIRTUAL TABLE u USING fts5(a);" + hack + "'fts5(a)', 'fts5(a, tokenize=klingon)')",
		"module":        "CREATE VIRTUAL TABLE u USING fts5(a);" + hack + "'fts5(a)', 'holodeck(a)')",
		"null":          "CREATE TABLE u(a, b); INSERT INTO u VALUES(1, NULL);" + hack + "'b)', 'b NOT NULL)')",
		"unused page":   "CREATE TABLE u(a); PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name = 'u'",
		"missing entry": "CREATE TABLE u(a, b); CREATE INDEX i ON u(a); INSERT INTO u VALUES(1, 2);" + hack + "'u(a)', 'u(b)')",
		"foreign key":   "CREATE TABLE u(a REFERENCES mine(a)); INSERT INTO u VALUES('nobody')",
	} {
		for _, mode := range []string{"DELETE", "WAL", killed} {
			cfg := driftdb.Config{Name: "app", Path: filepath.Join(folder(t), "app.sqlite")}
			leave(t, cfg.Path, mode, "CREATE TABLE mine(a TEXT)", "INSERT INTO mine VALUES('x');"+more)
			db, err := driftdb.Open(t.Context(), cfg)
			if err != nil {
				t.Errorf("%s, %s: %v", name, mode, err)
				continue
			}
			if n, err := driftdb.Select[int64](t.Context(), db, "SELECT count(*) FROM mine"); err != nil || len(n) != 1 || n[0] != 1 {
				t.Errorf("%s, %s: %v, %v", name, mode, n, err)
			}
			systemtest.Check(t, db.Close())
		}
	}
}

// TestRefusedInTime: an Open whose context ends leaves the file as it was, too.
func TestRefusedInTime(t *testing.T) {
	dir := folder(t)
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(dir, "app.sqlite")}
	foreign(t, cfg.Path, "DELETE", `CREATE TABLE gone(a); DROP TABLE gone; CREATE TABLE small(a); CREATE TABLE large AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000)
		SELECT i, hex(randomblob(50)) FROM n`)
	before := listing(t, dir, false)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	db, err := driftdb.Open(ctx, cfg)
	if err == nil {
		systemtest.Check(t, db.Close())
		t.Skip("this machine reads the file before the context ends")
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if now := listing(t, dir, false); now != before {
		t.Errorf("%v\nbefore:\n%s\nafter:\n%s", err, before, now)
	}
}

// listing is what a folder holds: names, kinds, rights, sizes, and contents, unless
// somebody in this process uses them.
func listing(t *testing.T, dir string, inUse bool) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	systemtest.Check(t, err)
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-shm") {
			continue // an index of the -wal, which whoever reads makes
		}
		info, err := e.Info()
		systemtest.Check(t, err)
		line := fmt.Sprintf("%s %s", e.Name(), info.Mode())
		if info.Mode().IsRegular() {
			path := filepath.Join(dir, e.Name())
			if inUse {
				line += fmt.Sprintf(" %d %s", info.Size(), info.ModTime()) // to read it would end SQLite's locks
			} else {
				b, err := os.ReadFile(path)
				systemtest.Check(t, err)
				line += fmt.Sprintf(" %d %x", len(b), sha256.Sum256(b))
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
