// Command cron proves that a backup can be restored, as a nightly job does. It restores
// the backup to a file and checks what only this program knows: whether the data makes
// sense. It remembers how far the backup had got, and fails if the backup has gone back
// since.
//
//	cron -name notes -store /mnt/backup -out last-night.sqlite -seen seen.json
//
// Run it on another machine than the one that writes, and let cron mail its output.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
	_ "modernc.org/sqlite" // a restored file is plain SQLite
)

func main() {
	name := flag.String("name", "", "the name of the database in the store")
	folder := flag.String("store", "", "the folder that has the backup")
	out := flag.String("out", "restored.sqlite", "the file to restore to")
	seen := flag.String("seen", "seen.json", "the file that remembers how far the backup was")
	query := flag.String("query", "SELECT count(*) > 0 FROM sqlite_schema", "a query that has to return 1")
	flag.Parse()
	if err := run(context.Background(), *name, *folder, *out, *seen, *query); err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name, folder, out, seen, query string) error {
	store, err := objstore.Dir(folder) // or RestoreConfig.S3: &driftdb.S3Config{Bucket: "my-notes"}
	if err != nil {
		return err
	}
	var last driftdb.Confirmation
	if text, err := os.ReadFile(seen); err == nil {
		err = json.Unmarshal(text, &last)
		if err != nil {
			return fmt.Errorf("%s: %w", seen, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	result, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: name, Path: out, Store: store, Seen: last, Overwrite: true})
	if err != nil {
		return err
	}
	if err := ask(ctx, out, query); err != nil {
		return err
	}
	fmt.Printf("%s: %d rows in %d tables, as of %s, in %s\n", name, result.Rows, result.Tables,
		result.Time.Format("2006-01-02 15:04:05"), result.Duration)
	for _, damaged := range result.Damaged {
		fmt.Println("damaged, and made up for by older data; take a new snapshot:", damaged)
	}
	text, err := json.Marshal(result.Confirmed)
	if err != nil {
		return err
	}
	return os.WriteFile(seen, text, 0o600)
}

// ask runs the query on the restored file.
func ask(ctx context.Context, file, query string) error {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer db.Close()
	var right bool
	if err := db.QueryRowContext(ctx, query).Scan(&right); err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	if !right {
		return fmt.Errorf("%s: the restored data is not as it should be", query)
	}
	return nil
}
