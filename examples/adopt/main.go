// Command adopt backs up a SQLite file that another program, one without DriftDB, writes.
// The first run adds DriftDB's tables to the file and stores a snapshot; each later run
// stores another one if the file has changed. Every run proves that what is in the store
// can be restored. Run it from cron, instead of a copy of the file.
//
//	adopt -db app.sqlite -name app -store /mnt/backup
//
// Only the state of each run can be restored. A program that opens its database with
// DriftDB has every change in its backup.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

func main() {
	path := flag.String("db", "", "the SQLite file")
	name := flag.String("name", "", "the name of its backup in the store")
	folder := flag.String("store", "", "an existing folder for the backup")
	flag.Parse()
	if err := run(context.Background(), *path, *name, *folder); err != nil {
		fmt.Fprintln(os.Stderr, "adopt:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path, name, folder string) (err error) {
	if _, err := os.Stat(path); err != nil { // Open would create it
		return err
	}
	store, err := objstore.Dir(folder) // or Config.S3: &driftdb.S3Config{Bucket: "my-backups"}
	if err != nil {
		return err
	}
	db, err := driftdb.Open(ctx, driftdb.Config{Name: name, Path: path, Store: store, ManualSync: true, OnEvent: warn})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Flush(ctx); err != nil {
		return err
	}
	proven, err := db.Backup().Verify(ctx, driftdb.RestoreOptions{})
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d rows can be restored\n", name, proven.Rows)
	return nil
}

// warn prints warnings and errors, except that another program has written to the file,
// which is why this one runs.
func warn(e driftdb.Event) {
	if e.Level >= slog.LevelWarn && e.Kind != driftdb.EventForeignWrite {
		fmt.Fprintln(os.Stderr, "adopt:", e.Message, e.Attrs)
	}
}
