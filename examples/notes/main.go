// Command notes keeps notes in a database that survives the loss of its machine. Each run
// opens the database, does one thing and closes it, and Close sends what was written. If
// the file is gone, the next run first fetches it from the store.
//
//	notes -db notes.sqlite -store /mnt/backup add Buy milk
//	notes -db notes.sqlite -store /mnt/backup list
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// Note is a row of the table notes.
type Note struct {
	driftdb.Base
	Text string
}

func main() {
	path := flag.String("db", "notes.sqlite", "the database file")
	folder := flag.String("store", "", "an existing folder for the backup")
	flag.Parse()
	if err := run(context.Background(), *path, *folder, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "notes:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path, folder string, args []string) (err error) {
	store, err := objstore.Dir(folder) // or Config.S3: &driftdb.S3Config{Bucket: "my-notes"}
	if err != nil {
		return err
	}
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "notes", Path: path, Store: store, AutoRestore: true})
	if err != nil {
		return err
	}
	defer func() {
		closed := db.Close()
		if errors.Is(closed, driftdb.ErrUnsent) { // offline: the next run sends it
			fmt.Fprintln(os.Stderr, "notes: saved here, not in the store yet:", closed)
			closed = nil
		}
		err = errors.Join(err, closed)
	}()
	notes, err := driftdb.Define[Note](ctx, db, "notes")
	if err != nil {
		return err
	}
	switch {
	case len(args) >= 2 && args[0] == "add":
		_, err := notes.Create(ctx, Note{Text: strings.Join(args[1:], " ")})
		return err
	case len(args) == 1 && args[0] == "list":
		found, err := notes.Find(ctx, driftdb.Query{OrderBy: []driftdb.Order{driftdb.Asc("createdAt")}})
		if err != nil {
			return err
		}
		for _, n := range found {
			fmt.Println(n.CreatedAt.Format("2006-01-02"), n.Text)
		}
		return nil
	}
	return errors.New("usage: notes [-db FILE] -store FOLDER add TEXT | list")
}
