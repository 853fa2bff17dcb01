package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash"

	"github.com/driftdb/driftdb-go"
)

// digest summarizes the contents of a database.
type digest struct {
	sum    string // SHA-256 of every table's schema and rows
	tables int64
	rows   int64
}

// takeDigest reads every row of every user table.
func takeDigest(ctx context.Context, db *driftdb.DB) (d digest, err error) {
	type table struct{ Name, SQL string }
	tables, err := driftdb.Select[table](ctx, db, `SELECT name, sql FROM sqlite_schema
		WHERE type = 'table' AND name NOT LIKE '\_driftdb\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	if err != nil {
		return d, err
	}
	h := sha256.New()
	for _, t := range tables {
		fmt.Fprintf(h, "%q", t.SQL)
		n, err := hashRows(ctx, db.SQL(), t.Name, h)
		if err != nil {
			return d, fmt.Errorf("read table %q: %w", t.Name, err)
		}
		d.tables, d.rows = d.tables+1, d.rows+n
	}
	d.sum = fmt.Sprintf("%x", h.Sum(nil))
	return d, nil
}

func hashRows(ctx context.Context, db *sql.DB, table string, h hash.Hash) (n int64, err error) {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+quote(table)+" ORDER BY rowid")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		for _, v := range values {
			fmt.Fprintf(h, "%T %q\n", v, fmt.Sprint(v))
		}
	}
	return n, rows.Err()
}
