// Command functions registers SQL functions that are written in Go: domain(email), which an
// index uses, and the aggregate median(n). An index is part of the data, so a restore needs
// the same functions.
//
//	functions -db people.sqlite -store /mnt/backup
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// register is called for each connection that is opened.
func register(_ context.Context, r *driftdb.Registrar) error {
	return errors.Join(
		r.Function(driftdb.Function{Name: "domain", Args: 1, Deterministic: true, Scalar: func(args []any) (any, error) {
			email, _ := args[0].(string)
			_, domain, _ := strings.Cut(email, "@")
			return strings.ToLower(domain), nil
		}}),
		r.Function(driftdb.Function{Name: "median", Args: 1, Aggregate: func() driftdb.Aggregate { return new(median) }}),
	)
}

// median is the state of the aggregate for one group of rows.
type median struct{ values []int64 }

// Step takes the next row's argument; NULL does not count.
func (m *median) Step(args []any) error {
	switch n := args[0].(type) {
	case nil:
	case int64:
		m.values = append(m.values, n)
	default:
		return fmt.Errorf("median wants integers, not %T", n)
	}
	return nil
}

// Inverse removes the argument of the oldest row in a window.
func (m *median) Inverse(args []any) error {
	if args[0] != nil {
		m.values = m.values[1:]
	}
	return nil
}

// Value returns the median so far.
func (m *median) Value() (any, error) {
	if len(m.values) == 0 {
		return nil, nil
	}
	return slices.Sorted(slices.Values(m.values))[(len(m.values)-1)/2], nil
}

func main() {
	path := flag.String("db", "people.sqlite", "the database file")
	folder := flag.String("store", "", "an existing folder for the backup")
	flag.Parse()
	if err := run(context.Background(), *path, *folder); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, path, folder string) (err error) {
	store, err := objstore.Dir(folder) // or Config.S3: &driftdb.S3Config{Bucket: "my-people"}
	if err != nil {
		return err
	}
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "people", Path: path, Store: store, OnConnect: register})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.Exec(ctx, `CREATE TABLE IF NOT EXISTS people(email TEXT PRIMARY KEY, age INTEGER);
		CREATE INDEX IF NOT EXISTS domains ON people(domain(email));
		INSERT OR REPLACE INTO people VALUES('ann@Example.com', 31), ('bob@example.com', 45), ('eve@example.com', 33), ('zoe@example.org', 28)`)
	if err != nil {
		return err
	}
	type row struct {
		Domain      string
		People, Age int64
	}
	rows, err := driftdb.Select[row](ctx, db, `SELECT domain(email) AS domain, count(*) AS people, median(age) AS age
		FROM people GROUP BY domain(email)`)
	for _, r := range rows {
		fmt.Println(r.Domain, r.People, r.Age)
	}
	if err != nil {
		return err
	}
	if err := db.Flush(ctx); err != nil {
		return err
	}
	_, err = driftdb.Verify(ctx, driftdb.RestoreConfig{Name: "people", Store: store, OnConnect: register})
	return err
}
