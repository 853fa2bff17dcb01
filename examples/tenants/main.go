// Command tenants gives each customer a database of its own: one process, many files, one
// store. No query can reach another customer's rows, and each customer can be restored,
// moved or deleted alone.
//
// It reads lines of "customer amount" and prints the balance of each customer in them.
//
//	tenants -dir data -store /mnt/backup < payments.txt
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// Tenants opens each database on first use. Many goroutines can use it.
type Tenants struct {
	dir   string
	store objstore.Store

	mu  sync.Mutex
	all map[string]*tenant
}

type tenant struct {
	mu sync.Mutex
	db *driftdb.DB // nil until the first use
}

// DB returns the database of one customer. The first call opens it; calls for other
// customers do not wait for that.
func (t *Tenants) DB(ctx context.Context, name string) (*driftdb.DB, error) {
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return nil, fmt.Errorf("%q is no customer's name", name)
	}
	t.mu.Lock()
	one := t.all[name]
	if one == nil {
		one = new(tenant)
		t.all[name] = one
	}
	t.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.db != nil {
		return one.db, nil
	}
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: name, Path: filepath.Join(t.dir, name+".sqlite"), Store: t.store, AutoRestore: true,
		CacheBytes: 2 << 20, // of memory for each customer
	})
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(ctx, "CREATE TABLE IF NOT EXISTS payments(id INTEGER PRIMARY KEY, amount INTEGER NOT NULL)")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	one.db = db
	return db, nil
}

// Close closes all databases at the same time; each sends what is pending.
func (t *Tenants) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	closed := make(chan error, len(t.all))
	for _, one := range t.all {
		go func() {
			one.mu.Lock()
			defer one.mu.Unlock()
			var err error
			if one.db != nil {
				err = one.db.Close()
			}
			closed <- err
		}()
	}
	var err error
	for range t.all {
		err = errors.Join(err, <-closed)
	}
	return err
}

func main() {
	dir := flag.String("dir", ".", "the folder of the database files")
	folder := flag.String("store", "", "an existing folder for the backups")
	flag.Parse()
	store, err := objstore.Dir(*folder) // or Config.S3: &driftdb.S3Config{Bucket: "my-customers"}
	if err != nil {
		log.Fatal(err)
	}
	tenants := &Tenants{dir: *dir, store: store, all: map[string]*tenant{}}
	err = run(context.Background(), tenants, os.Stdin)
	if err := errors.Join(err, tenants.Close()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, tenants *Tenants, payments io.Reader) error {
	balances := map[string]int64{}
	lines := bufio.NewScanner(payments)
	for lines.Scan() {
		var name string
		var amount int64
		if _, err := fmt.Sscan(lines.Text(), &name, &amount); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		db, err := tenants.DB(ctx, name)
		if err != nil {
			return err
		}
		if _, err := db.Exec(ctx, "INSERT INTO payments(amount) VALUES(?)", amount); err != nil {
			return err
		}
		sums, err := driftdb.Select[int64](ctx, db, "SELECT sum(amount) FROM payments")
		if err != nil {
			return err
		}
		balances[name] = sums[0]
	}
	for _, name := range slices.Sorted(maps.Keys(balances)) {
		fmt.Println(name, balances[name])
	}
	return lines.Err()
}
