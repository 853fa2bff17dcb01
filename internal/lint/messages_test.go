package lint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestNothingSaidTwice: every error begins with whose it is, and none says a thing twice, as errors do that are wrapped by each
// function on their way with what it has been called with.
func TestNothingSaidTwice(t *testing.T) {
	for _, failures := range []func(*testing.T, func(string, error)){
		failuresOfOpen, failuresOfFiles, failuresOfUse, failuresOfBuckets, failuresOfRestore, failuresOfS3,
	} {
		failures(t, func(what string, err error) {
			t.Helper()
			if err == nil {
				t.Errorf("%s: no error", what)
				return
			}
			t.Logf("%s: %v", what, err)
			elsewhere := strings.HasPrefix(what, "SQL ") || strings.HasPrefix(what, "a store ") // of database/sql, and of objstore
			if !elsewhere && !strings.HasPrefix(err.Error(), "driftdb: ") {
				t.Errorf("%s: it does not say whose error it is: %v", what, err)
			}
			if again := repeated(err.Error()); again != "" {
				t.Errorf("%s: %q is there twice: %v", what, again, err)
			}
		})
	}
}

// clauseEnd is where a clause of a message ends.
var clauseEnd = regexp.MustCompile(`: |; |, |\n|[()]| but `)

// repeated is a clause that message has more than once, if it has.
func repeated(message string) string {
	seen := map[string]bool{}
	for _, clause := range clauseEnd.Split(message, -1) {
		clause = strings.Trim(clause, " .")
		if len(clause) < 4 {
			continue
		}
		if seen[clause] {
			return clause
		}
		seen[clause] = true
	}
	return repeatedPath(message)
}

// repeatedPath is a file, URL or key that message has more than once, if it has.
func repeatedPath(message string) string {
	seen := map[string]bool{}
	for _, word := range strings.Fields(message) {
		word = strings.Trim(word, `:;,."'()`)
		if strings.Count(word, "/") < 2 {
			continue
		}
		for other := range seen {
			if strings.Contains(word, other) || strings.Contains(other, word) {
				return word
			}
		}
		seen[word] = true
	}
	return ""
}

func TestRepeated(t *testing.T) {
	for message, want := range map[string]string{
		"open a.db: open a.db: unable (14)": "open a.db", "driftdb: x: driftdb: y": "driftdb", "open a.db: no (open a.db: z)": "open a.db",
		"open /a/b.db: locked: /a/b.db has a writer": "/a/b.db", "get s3://b/c/d: Get \"http://h/b/c/d\": refused": "",
		"a: b: a": "", "get s3://x/y: 404 NoSuchBucket: no such bucket": "",
	} {
		if got := repeated(message); got != want {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
}

func failuresOfOpen(t *testing.T, fails func(string, error)) {
	opened := func(what string, change func(*driftdb.Config)) {
		cfg := systemtest.Config(t)
		change(&cfg)
		fails("Open "+what, systemtest.OpenError(t, cfg))
	}
	key := strings.Repeat("ab", 32)
	opened("without a name", func(c *driftdb.Config) { c.Name = "" })
	opened("with a bad name", func(c *driftdb.Config) { c.Name = "a/b" })
	opened("without a path", func(c *driftdb.Config) { c.Path = "" })
	opened("with a bad node", func(c *driftdb.Config) { c.NodeID = "a b" })
	opened("with two stores", func(c *driftdb.Config) { c.S3 = &driftdb.S3Config{Bucket: "b"} })
	opened("with a bad key", func(c *driftdb.Config) { c.EncryptionKeys = []string{"short"} })
	opened("with a key twice", func(c *driftdb.Config) { c.EncryptionKeys = []string{key, key} })
	opened("with keys and no store", func(c *driftdb.Config) { c.Store, c.EncryptionKeys = nil, []string{key} })
	opened("with a negative time", func(c *driftdb.Config) { c.SyncInterval = -1 })
	opened("with a bad bucket", func(c *driftdb.Config) { c.Store, c.S3 = nil, &driftdb.S3Config{Bucket: "a/b"} })
	opened("with half a credential", func(c *driftdb.Config) { c.Store, c.S3 = nil, &driftdb.S3Config{Bucket: "b", AccessKeyID: "x"} })
	opened("with a bad endpoint", func(c *driftdb.Config) {
		c.Store, c.S3 = nil, &driftdb.S3Config{Bucket: "b", Endpoint: "localhost:9000"}
	})
	opened("with an OnConnect that fails", func(c *driftdb.Config) {
		c.OnConnect = func(context.Context, *driftdb.Registrar) error { return errors.New("no such function here") }
	})
	opened("at a folder", func(c *driftdb.Config) { c.Path = t.TempDir() })
	opened("below a file", func(c *driftdb.Config) {
		systemtest.Check(t, os.WriteFile(c.Path, nil, 0o600))
		c.Path = filepath.Join(c.Path, "sub", "a.sqlite")
	})
	opened("at a text", func(c *driftdb.Config) {
		systemtest.Check(t, os.WriteFile(c.Path, []byte(strings.Repeat("no database ", 1000)), 0o600))
	})
	opened("at a damaged file", func(c *driftdb.Config) {
		db := openOnce(t, driftdb.Config{Name: "app", Path: c.Path})
		systemtest.Some(t, db, "t", 500)
		systemtest.Check(t, db.Close())
		b, err := os.ReadFile(c.Path)
		systemtest.Check(t, err)
		systemtest.Check(t, os.WriteFile(c.Path, b[:len(b)/2+100], 0o600))
	})
	opened("at one that has another name", func(c *driftdb.Config) {
		systemtest.Check(t, openOnce(t, driftdb.Config{Name: "other", Path: c.Path}).Close())
	})
	opened("at a locked one", func(c *driftdb.Config) {
		db := openOnce(t, driftdb.Config{Name: "app", Path: c.Path})
		t.Cleanup(func() { db.Close() })
	})
}

func openOnce(t *testing.T, cfg driftdb.Config) *driftdb.DB {
	t.Helper()
	db, err := driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	return db
}

func failuresOfFiles(t *testing.T, fails func(string, error)) {
	ctx, dir := t.Context(), t.TempDir()
	text := filepath.Join(dir, "text")
	systemtest.Check(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 1000)), 0o600))
	cfg := systemtest.Config(t)
	db := openOnce(t, cfg)
	defer db.Close()
	systemtest.Some(t, db, "t", 1)
	systemtest.Check(t, db.Flush(ctx))
	for what, path := range map[string]string{
		"a missing file": filepath.Join(dir, "none"), "a folder": dir, "a text": text, "below a file": filepath.Join(text, "x"), "an open file": cfg.Path,
	} {
		fails("Detach of "+what, driftdb.Detach(path))
		if what == "a missing file" {
			continue
		}
		_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: path, Store: cfg.Store})
		fails("Restore to "+what, err)
		if what == "a text" {
			continue
		}
		_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: path, Store: cfg.Store, Overwrite: true})
		fails("Restore over "+what, err)
	}
	_, err := objstore.Dir(filepath.Join(dir, "none"))
	fails("a store in a missing folder", err)
	_, err = objstore.Dir(text)
	fails("a store in a file", err)
}

func failuresOfUse(t *testing.T, fails func(string, error)) {
	ctx := t.Context()
	db := openOnce(t, driftdb.Config{Name: "app", Path: ":memory:"})
	repo := systemtest.Define[systemtest.LoadRow](t, db, "rows")
	made, err := repo.Create(ctx, systemtest.LoadRow{N: 1})
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "CREATE TABLE strict(id INTEGER PRIMARY KEY, n INTEGER NOT NULL CHECK (n > 0)) STRICT; CREATE TABLE child(id REFERENCES strict)")
	for _, query := range []string{
		"nonsense", "SELECT * FROM nowhere", "INSERT INTO strict VALUES(1, NULL)", "INSERT INTO strict VALUES(1, 0)",
		"INSERT INTO strict VALUES(1, 'x')", "INSERT INTO child VALUES(7)", "BEGIN", "ROLLBACK", "ATTACH '/nowhere/x' AS y", "DELETE FROM _driftdb_log",
		"SELECT abs(-9223372036854775808)", "PRAGMA journal_mode=DELETE; SELECT", "INSERT INTO rows SELECT * FROM rows",
	} {
		_, err := db.Exec(ctx, query)
		if query != "ROLLBACK" {
			fails("Exec "+query, err)
		}
		err = db.Tx(ctx, func(tx *driftdb.Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		})
		if !strings.HasPrefix(query, "INSERT INTO child") || err != nil {
			fails("Tx "+query, err)
		}
		_, err = db.SQL().ExecContext(ctx, query)
		if query != "BEGIN" {
			fails("SQL "+query, err)
		} else {
			db.SQL().ExecContext(ctx, "ROLLBACK")
		}
		_, err = driftdb.Select[driftdb.Record](ctx, db, query)
		if query != "BEGIN" && query != "PRAGMA journal_mode=DELETE; SELECT" {
			fails("Select "+query, err)
		}
	}
	_, err = repo.Create(ctx, systemtest.LoadRow{N: 1})
	fails("a row twice", err)
	_, err = repo.CreateMany(ctx, []systemtest.LoadRow{{N: 5}, {N: 5}})
	fails("many rows twice", err)
	_, err = repo.FindByID(ctx, "none")
	fails("no row", err)
	_, err = repo.UpdateByID(ctx, "none", driftdb.Set{"n": 3})
	fails("no row to update", err)
	_, err = repo.Update(ctx, driftdb.Where{}, driftdb.Set{"n": 3})
	fails("an empty Where", err)
	_, err = repo.Update(ctx, driftdb.Where{"none": 1}, driftdb.Set{"n": 3})
	fails("an unknown column", err)
	_, err = repo.Update(ctx, driftdb.Where{"n": driftdb.Gt("x")}, driftdb.Set{"n": 3})
	fails("a wrong type", err)
	_, err = repo.UpdateByID(ctx, made.ID, driftdb.Set{"id": "x"})
	fails("a new id", err)
	fails("a write while reading", db.ReadTx(ctx, func(tx *driftdb.Tx) error { _, err := repo.In(tx).Create(ctx, systemtest.LoadRow{}); return err }))
	fails("a Tx in a Tx", db.Tx(ctx, func(*driftdb.Tx) error { return db.Tx(ctx, nil) }))
	fails("SQL in a Tx", db.Tx(ctx, func(*driftdb.Tx) error { _, err := db.SQL().Exec("DELETE FROM rows"); return err }))
	fails("Flush without a store", db.Flush(ctx))
	_, err = db.Snapshot(ctx)
	fails("Snapshot without a store", err)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = db.Exec(ended, "DELETE FROM rows")
	fails("Exec with a context that has ended", err)
	fails("Tx with it", db.Tx(ended, func(*driftdb.Tx) error { return nil }))
	_, err = repo.Create(ended, systemtest.LoadRow{N: 7})
	fails("Create with it", err)
	_, err = driftdb.Select[int](ctx, db, "SELECT 1, 2")
	fails("two columns", err)
	systemtest.Check(t, db.Close())
	_, err = repo.Create(ctx, systemtest.LoadRow{N: 7})
	fails("Create after Close", err)
	fails("Tx after Close", db.Tx(ctx, func(*driftdb.Tx) error { return nil }))
	_, err = db.SQL().Exec("SELECT 1")
	fails("SQL after Close", err)
	_, err = driftdb.Define[systemtest.LoadRow](ctx, db, "more")
	fails("Define after Close", err)
}

// failuresOfBuckets are those of a bucket that is not as a writer left it.
func failuresOfBuckets(t *testing.T, fails func(string, error)) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	cfg.EncryptionKeys = []string{strings.Repeat("ab", 32)}
	db := openOnce(t, cfg)
	systemtest.Some(t, db, "t", 3)
	_, err := db.Snapshot(ctx)
	systemtest.Check(t, err)
	other := cfg
	other.Path, other.AutoRestore = filepath.Join(t.TempDir(), "other.sqlite"), true
	thief := openOnce(t, other)
	systemtest.Some(t, thief, "t", 1)
	systemtest.Check(t, thief.Flush(ctx))
	systemtest.Some(t, db, "t", 1)
	fails("Flush when fenced", db.Flush(ctx))
	_, err = db.Exec(ctx, "DELETE FROM t")
	fails("Exec when fenced", err)
	fails("Shutdown when fenced", db.Shutdown(ctx))
	cfg.ManualSync = false
	fails("Open of a file that has diverged", systemtest.OpenError(t, cfg))
	systemtest.Check(t, thief.Close())
	refused := cfg
	refused.Path, refused.AutoRestore, refused.RefuseTakeover = filepath.Join(t.TempDir(), "r.sqlite"), true, true
	fails("Open that may not take over", systemtest.OpenError(t, refused))
	for what, keys := range map[string][]string{"no key": nil, "another key": {strings.Repeat("cd", 32)}, "no key at all": {"x"}} {
		cfg := driftdb.RestoreConfig{Name: "app", Store: cfg.Store, EncryptionKeys: keys, Path: filepath.Join(t.TempDir(), "x")}
		failuresOfBackup(t, what, cfg, fails)
		restored := other
		restored.Path, restored.EncryptionKeys, restored.ManualSync = cfg.Path, keys, false
		fails("Open with "+what, systemtest.OpenError(t, restored))
	}
	for _, key := range systemtest.Keys(t, cfg.Store) {
		b := string(systemtest.Read(t, cfg.Store, key))
		for what, damaged := range map[string]string{"half of": b[:len(b)/2], "text for": "no object", "nothing for": ""} {
			_, err := cfg.Store.Put(ctx, key, strings.NewReader(damaged), objstore.PutOptions{})
			systemtest.Check(t, err)
			name := filepath.Base(key)
			_, err = driftdb.Verify(ctx, driftdb.RestoreConfig{Name: "app", Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys})
			if err != nil {
				fails(fmt.Sprintf("Verify with %s %s", what, name), err)
			}
		}
		_, err := cfg.Store.Put(ctx, key, strings.NewReader(b), objstore.PutOptions{})
		systemtest.Check(t, err)
	}
}

// failuresOfBackup are those of everything that reads a backup, which cannot be read.
func failuresOfBackup(t *testing.T, what string, cfg driftdb.RestoreConfig, fails func(string, error)) {
	ctx := t.Context()
	_, err := driftdb.Restore(ctx, cfg)
	fails("Restore with "+what, err)
	_, err = driftdb.Verify(ctx, cfg)
	fails("Verify with "+what, err)
	_, err = systemtest.InfoOf(ctx, systemtest.BackupOf(cfg))
	fails("Backup with "+what, err)
	_, err = systemtest.GarbageOf(ctx, systemtest.BackupOf(cfg), 0)
	fails("Garbage with "+what, err)
	_, err = systemtest.Rekey(ctx, systemtest.BackupOf(cfg), nil)
	fails("Rekey with "+what, err)
	for _, err = range systemtest.ChangesOf(ctx, systemtest.BackupOf(cfg), driftdb.ChangeQuery{}) {
		if err != nil {
			break
		}
	}
	fails("History with "+what, err)
}

func failuresOfRestore(t *testing.T, fails func(string, error)) {
	cfg := driftdb.RestoreConfig{Name: "app", Store: objstore.Mem(), Path: filepath.Join(t.TempDir(), "x")}
	failuresOfBackup(t, "nothing in the bucket", cfg, fails)
	cfg.Name = "a/b"
	failuresOfBackup(t, "a bad name", cfg, fails)
	cfg.Name, cfg.Store = "app", nil
	failuresOfBackup(t, "no store", cfg, fails)
}

func failuresOfS3(t *testing.T, fails func(string, error)) {
	server := s3test.Start(t)
	good := driftdb.S3Config{
		Bucket: server.NewBucket(t), Region: server.Region, Endpoint: server.Endpoint,
		AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
	}
	for what, change := range map[string]func(*driftdb.S3Config){
		"nothing under the name": func(*driftdb.S3Config) {},
		"a wrong secret":         func(c *driftdb.S3Config) { c.SecretAccessKey = "wrong" },
		"an unknown key":         func(c *driftdb.S3Config) { c.AccessKeyID = "nobody" },
		"a missing bucket":       func(c *driftdb.S3Config) { c.Bucket = "no-such-bucket" },
		"a wrong region":         func(c *driftdb.S3Config) { c.Region = "eu-nowhere-7" },
		"a refused endpoint":     func(c *driftdb.S3Config) { c.Endpoint = "http://127.0.0.1:1" },
		"no such host":           func(c *driftdb.S3Config) { c.Endpoint = "http://no-such-host.invalid" },
	} {
		s3 := good
		change(&s3)
		if what != "a refused endpoint" && what != "no such host" { // those are repeated for long
			failuresOfBackup(t, what, driftdb.RestoreConfig{Name: "none", S3: &s3, Path: filepath.Join(t.TempDir(), "x")}, fails)
		}
		cfg := driftdb.Config{Name: "app", Path: ":memory:", S3: &s3, ManualSync: true, Retry: driftdb.RetryPolicy{MaxRetries: 1, BaseDelay: 1}}
		db := openOnce(t, cfg)
		systemtest.Some(t, db, "t", 1)
		if what != "nothing under the name" {
			fails("Flush with "+what, db.Flush(t.Context()))
			_, err := db.Snapshot(t.Context())
			fails("Snapshot with "+what, err)
			fails("LastError with "+what, db.Metrics().LastError)
			fails("Shutdown with "+what, db.Shutdown(t.Context()))
		}
		_ = db.Close()
	}
}
