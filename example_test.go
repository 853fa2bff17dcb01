package driftdb_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// folder is a new temporary folder for an example, and how to delete it.
func folder() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "driftdb-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() {
		if err := os.RemoveAll(dir); err != nil {
			log.Fatal(err)
		}
	}
}

// A database with its backup in a bucket, and a table from a struct. This is
// the README's quick start.
func Example_quickStart() {
	type User struct {
		driftdb.Base // ID, CreatedAt, UpdatedAt
		Name         string
		Email        string `db:",unique"`
	}
	run := func(ctx context.Context) error {
		db, err := driftdb.Open(ctx, driftdb.Config{
			Name:        "app",
			Path:        "data/app.sqlite",
			S3:          &driftdb.S3Config{Bucket: "my-backups"},
			AutoRestore: true,
		})
		if err != nil {
			return err
		}
		defer db.Close()
		users, err := driftdb.Define[User](ctx, db, "users")
		if err != nil {
			return err
		}
		alice, err := users.Create(ctx, User{Name: "Alice", Email: "alice@example.com"})
		if err != nil {
			return err
		}
		fmt.Println(alice.ID)

		found, err := users.Find(ctx, driftdb.Query{
			Where:   driftdb.Where{"name": driftdb.Like("Ali%")},
			OrderBy: []driftdb.Order{driftdb.Desc("createdAt")},
			Limit:   10,
		})
		if err != nil {
			return err
		}
		err = db.Tx(ctx, func(tx *driftdb.Tx) error {
			for _, u := range found {
				if _, err := users.In(tx).UpdateByID(ctx, u.ID, driftdb.Set{"name": u.Name + " Smith"}); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, "CREATE INDEX IF NOT EXISTS byName ON users (name)")
			return err
		})
		return err
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// The places where a backup can go.
func ExampleConfig() {
	configure := func(cfg *driftdb.Config) error {
		// Amazon S3.
		cfg.S3 = &driftdb.S3Config{Bucket: "my-backups", Region: "eu-west-1"}

		// Another service with the protocol of S3.
		cfg.S3 = &driftdb.S3Config{
			Bucket:          "my-backups",
			Endpoint:        "http://localhost:9000", // MinIO; LocalStack listens on 4566
			AccessKeyID:     "minioadmin",
			SecretAccessKey: "minioadmin",
		}

		// A bucket with demands.
		cfg.S3 = &driftdb.S3Config{
			Bucket:               "my-backups",
			ServerSideEncryption: "aws:kms", // or "AES256", "aws:kms:dsse"
			KMSKeyID:             "alias/backups",
			StorageClass:         "INTELLIGENT_TIERING",
		}

		// A folder.
		store, err := objstore.Dir("/mnt/backup/driftdb")
		if err != nil {
			return err
		}
		cfg.Store = store

		// With encryption.
		keys, err := driftdb.KeysFromEnv() // DRIFTDB_KEY: one key, or several with commas between them
		if err != nil {
			return err
		}
		cfg.EncryptionKeys = keys
		return nil
	}
	if err := configure(new(driftdb.Config)); err != nil {
		log.Fatal(err)
	}
}

// A database whose bucket is a folder survives the loss of its file.
func ExampleOpen() {
	ctx := context.Background()
	dir, remove := folder()
	defer remove()
	store, err := objstore.Dir(dir) // which has to be there
	if err != nil {
		log.Fatal(err)
	}
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: store, AutoRestore: true}

	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(ctx, "CREATE TABLE notes(body TEXT); INSERT INTO notes VALUES('kept')"); err != nil {
		log.Fatal(err)
	}
	if err := db.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	if err := os.Remove(cfg.Path); err != nil {
		log.Fatal(err)
	}

	if db, err = driftdb.Open(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	notes, err := driftdb.Select[string](ctx, db, "SELECT body FROM notes")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(notes)
	// Output: [kept]
}

// Flush waits until the bucket has what was committed.
func ExampleDB_Flush() {
	ctx := context.Background()
	dir, remove := folder()
	defer remove()
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: objstore.Mem(), ManualSync: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(ctx, "CREATE TABLE notes(body TEXT); INSERT INTO notes VALUES('one'), ('two')"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Metrics().PendingChanges, db.Metrics().ConfirmedSequence)
	if err := db.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Metrics().PendingChanges, db.Metrics().ConfirmedSequence)
	// Output:
	// 3 0
	// 0 3
}

// A backup is restored to a new file, as it is now or as it was.
func ExampleRestore() {
	ctx := context.Background()
	dir, remove := folder()
	defer remove()
	store := objstore.Mem()
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: store})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(ctx, "CREATE TABLE notes(body TEXT); INSERT INTO notes VALUES('precious')"); err != nil {
		log.Fatal(err)
	}
	before := db.Sequence()
	if _, err := db.Exec(ctx, "DELETE FROM notes"); err != nil {
		log.Fatal(err)
	}
	if err := db.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}

	result, err := driftdb.Restore(ctx, driftdb.RestoreConfig{
		Name: "app", Path: filepath.Join(dir, "restored.sqlite"), Store: store, Sequence: before,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Sequence, result.Rows)
	// Output: 2 1
}

// A restore to a point in time.
func ExampleRestore_at() {
	ctx := context.Background()
	result, err := driftdb.Restore(ctx, driftdb.RestoreConfig{
		Name: "app",
		Path: "restored.sqlite",
		S3:   &driftdb.S3Config{Bucket: "my-backups", Region: "eu-west-1"},
		At:   time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), // zero: the latest
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Time, result.Rows)
}

// The database as it was, without a file of one's own.
func ExampleBackup_View() {
	ctx := context.Background()
	var backup *driftdb.Backup // from OpenBackup, or db.Backup()
	past, err := backup.View(ctx, driftdb.Point{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		log.Fatal(err)
	}
	defer past.Close()
	names, err := driftdb.Select[string](ctx, past, "SELECT name FROM users")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(names)
}

// What happened to a row, and the state before.
func ExampleBackup() {
	ctx := context.Background()
	backup, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{
		Name: "app",
		S3:   &driftdb.S3Config{Bucket: "my-backups", Region: "eu-west-1"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for c, err := range backup.Changes(ctx, driftdb.ChangeQuery{Table: "users", Key: map[string]any{"id": 7}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Time, c.Operation, c.Before, c.After)
	}
	result, err := backup.Restore(ctx, "before.sqlite", driftdb.RestoreOptions{At: driftdb.Point{Sequence: 4711}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Sequence, result.Rows)
}

// One handle for all that is done with a backup. The database need not be there.
func ExampleOpenBackup() {
	ctx := context.Background()
	dir, remove := folder()
	defer remove()
	store := objstore.Mem()
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: store})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(ctx, "CREATE TABLE stock(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO stock VALUES(7, 3), (8, 4)"); err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(ctx, "UPDATE stock SET n = n - 1 WHERE id = 7"); err != nil {
		log.Fatal(err)
	}
	if err := db.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}

	backup, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: "app", Store: store})
	if err != nil {
		log.Fatal(err)
	}
	for c, err := range backup.Changes(ctx, driftdb.ChangeQuery{Table: "stock", Key: map[string]any{"id": 7}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Sequence, c.Operation, c.Before, c.After)
	}
	result, err := backup.Verify(ctx, driftdb.RestoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Sequence, result.Rows)
	// Output:
	// 2 insert map[] map[id:7 n:3]
	// 4 update map[n:3] map[n:2]
	// 4 2
}

// The log says what happened, with the values before and after.
func ExampleDB_Changes() {
	ctx := context.Background()
	db := memory()
	defer db.Close()
	for _, script := range []string{
		"CREATE TABLE stock(id INTEGER PRIMARY KEY, n INTEGER)",
		"INSERT INTO stock VALUES(7, 3)",
		"UPDATE stock SET n = n - 1",
		"DELETE FROM stock",
	} {
		if _, err := db.Exec(ctx, script); err != nil {
			log.Fatal(err)
		}
	}
	for c, err := range db.Changes(ctx, driftdb.ChangeQuery{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Sequence, c.Operation, c.Key, c.Before, c.After)
	}
	// Output:
	// 1 schema map[] map[] map[]
	// 2 insert map[id:7] map[] map[id:7 n:3]
	// 3 update map[id:7] map[n:3] map[n:2]
	// 4 delete map[id:7] map[id:7 n:2] map[]
}

// With database/sql, and all that is built on it, changes are captured too.
func ExampleDB_SQL() {
	ctx := context.Background()
	db := memory()
	defer db.Close()
	tx, err := db.SQL().BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "CREATE TABLE notes(body TEXT)"); err != nil {
		log.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO notes VALUES(?)", "hello"); err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Sequence())
	// Output: 2
}

// The settings of an upload: compression, encryption, retries, batches.
func ExampleConfig_uploads() {
	cfg := driftdb.Config{
		Name: "myapp-prod", Path: "data/myapp.sqlite",
		S3:             &driftdb.S3Config{Bucket: "my-app-backups", Region: "us-east-1"},
		Compression:    driftdb.CompressionGzip,            // the default
		EncryptionKeys: []string{os.Getenv("DRIFTDB_KEY")}, // openssl rand -hex 32
		Retry:          driftdb.RetryPolicy{MaxRetries: 5, BaseDelay: 500 * time.Millisecond, MaxDelay: 30 * time.Second},
		SyncInterval:   5 * time.Second,
		SnapshotEvery:  1000,
		MaxBatchSize:   100,
		Logger:         slog.Default(),
		OnEvent:        func(e driftdb.Event) { fmt.Println(e.Kind, e.Message, e.Attrs) },
	}
	db, err := driftdb.Open(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A function of the program's own, which an index uses. Restore needs it, too.
func ExampleConfig_onConnect() {
	dir, remove := folder()
	defer remove()
	ctx := context.Background()

	register := func(_ context.Context, r *driftdb.Registrar) error {
		return r.Function(driftdb.Function{
			Name: "initial", Args: 1, Deterministic: true,
			Scalar: func(args []any) (any, error) {
				name, _ := args[0].(string)
				return name[:min(1, len(name))], nil
			},
		})
	}
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "app", Path: filepath.Join(dir, "app.sqlite"), OnConnect: register})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	_, err = db.Exec(ctx, `CREATE TABLE people(name TEXT); CREATE INDEX initials ON people(initial(name));
		INSERT INTO people VALUES('Alice'), ('Bob')`)
	if err != nil {
		log.Fatal(err)
	}
	names, err := driftdb.Select[string](ctx, db, "SELECT name FROM people WHERE initial(name) = 'B'")
	fmt.Println(names, err)
	// Output: [Bob] <nil>
}

// The health of a file can be checked when a program starts.
func ExampleDB_IntegrityCheck() {
	db := memory()
	defer db.Close()
	switch err := db.IntegrityCheck(context.Background()); {
	case errors.Is(err, driftdb.ErrCorrupt):
		log.Fatal("the database is damaged; restore it from its bucket: ", err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println("healthy")
	// Output: healthy
}

// How syncing is doing.
func ExampleDB_Metrics() {
	ctx := context.Background()
	dir, remove := folder()
	defer remove()
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: objstore.Mem(), ManualSync: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(ctx, "CREATE TABLE notes(body TEXT); INSERT INTO notes VALUES('one')"); err != nil {
		log.Fatal(err)
	}
	m := db.Metrics()
	fmt.Println("running:", m.IsRunning, "pending:", m.PendingChanges, "synced:", m.TotalSynced, "errors:", m.SyncErrors)
	if err := db.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	m = db.Metrics()
	fmt.Println("running:", m.IsRunning, "pending:", m.PendingChanges, "synced:", m.TotalSynced, "last error:", m.LastError)
	// Output:
	// running: false pending: 2 synced: 0 errors: 0
	// running: false pending: 0 synced: 2 last error: <nil>
}

// A transaction is taken back.
func ExampleDB_Undo() {
	ctx := context.Background()
	db := memory()
	defer db.Close()
	if _, err := db.Exec(ctx, "CREATE TABLE visits(name TEXT); INSERT INTO visits VALUES('Alice'), ('Bob')"); err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(ctx, "UPDATE visits SET name = ''"); err != nil { // without a WHERE
		log.Fatal(err)
	}
	sequence := db.Sequence()

	r, err := db.Undo(ctx, driftdb.Undo{From: sequence, To: sequence}) // of any of its changes
	if errors.Is(err, driftdb.ErrConflict) {
		for _, c := range r.Conflicts { // rows that have been changed since; nothing was undone
			fmt.Println(c.Table, c.Key, c.Before, c.After, c.Current)
		}
	}
	fmt.Println(r.Undone, err)
	names, err := driftdb.Select[string](ctx, db, "SELECT name FROM visits")
	fmt.Println(names, err)
	// Output:
	// 2 <nil>
	// [Alice Bob] <nil>
}

// A query that no repository has.
func ExampleSelect_analytics() {
	ctx := context.Background()
	db := memory()
	defer db.Close()
	if _, err := db.Exec(ctx, "CREATE TABLE visits(name TEXT); INSERT INTO visits VALUES('Alice'), ('Bob'), ('Alice')"); err != nil {
		log.Fatal(err)
	}
	type row struct {
		Name  string
		Count int
	}
	rows, err := driftdb.Select[row](ctx, db, "SELECT name, count(*) AS count FROM visits GROUP BY name HAVING count(*) > ?", 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rows)
	// Output: [{Alice 2}]
}
