package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/driftdb/driftdb-go/objstore"
)

func ExampleDir() {
	folder, err := os.MkdirTemp("", "backup")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	store, err := objstore.Dir(folder)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	create := objstore.PutOptions{IfAbsent: true}
	info, err := store.Put(ctx, "notes/first.txt", strings.NewReader("hello"), create)
	fmt.Println(info.Key, info.Size, err)
	_, err = store.Put(ctx, "notes/first.txt", strings.NewReader("again"), create)
	fmt.Println("created twice:", !errors.Is(err, objstore.ErrPrecondition))

	body, _, err := store.Get(ctx, "notes/first.txt", objstore.GetOptions{Offset: 1, Length: 3})
	if err != nil {
		log.Fatal(err)
	}
	defer body.Close()
	part, err := io.ReadAll(body)
	fmt.Println(string(part), err)

	// Output:
	// notes/first.txt 5 <nil>
	// created twice: false
	// ell <nil>
}

func ExampleOpen() {
	ctx := context.Background()
	// An s3:// URL needs the import of package s3store.
	_, err := objstore.Open(ctx, "file:///no/such/folder?region=eu-west-1")
	fmt.Println(err)
	_, err = objstore.Open(ctx, "/no/such/folder")
	fmt.Println(err)

	// Output:
	// objstore: unknown parameter "region": a file URL takes none; write ? in a path as %3F
	// objstore: the store's URL has no scheme (known: file); a folder is file:///path/to/folder, or file:///C:/path/to/folder on Windows
}
