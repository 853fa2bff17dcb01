// Command rawsql writes with database/sql alone: transactions, a trigger, a constraint.
// Whatever commits is captured, including what the trigger does; what is rolled back is
// not.
//
//	rawsql -db bank.sqlite -store /mnt/backup alice bob 30
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log"
	"strconv"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

const schema = `
CREATE TABLE IF NOT EXISTS accounts(owner TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK(balance >= 0));
CREATE TABLE IF NOT EXISTS journal(id INTEGER PRIMARY KEY, owner TEXT, change INTEGER);
CREATE TRIGGER IF NOT EXISTS book AFTER UPDATE ON accounts
	BEGIN INSERT INTO journal(owner, change) VALUES(new.owner, new.balance - old.balance); END;
INSERT OR IGNORE INTO accounts VALUES('alice', 100), ('bob', 100)`

func main() {
	path := flag.String("db", "bank.sqlite", "the database file")
	folder := flag.String("store", "", "an existing folder for the backup")
	flag.Parse()
	if err := run(context.Background(), *path, *folder, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, path, folder string, args []string) (err error) {
	if len(args) != 3 {
		return errors.New("usage: rawsql [-db FILE] -store FOLDER FROM TO AMOUNT")
	}
	amount, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	store, err := objstore.Dir(folder) // or Config.S3: &driftdb.S3Config{Bucket: "my-bank"}
	if err != nil {
		return err
	}
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "bank", Path: path, Store: store, AutoRestore: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	bank := db.SQL() // a *sql.DB like any other, for an ORM too
	if _, err := bank.ExecContext(ctx, schema); err != nil {
		return err
	}
	before := db.Sequence()
	if err := transfer(ctx, bank, args[0], args[1], amount); err != nil {
		return err
	}
	for change, err := range db.Changes(ctx, driftdb.ChangeQuery{From: before + 1}) {
		if err != nil {
			return err
		}
		fmt.Println(change.Operation, change.Table, change.After)
	}
	return nil
}

// transfer moves an amount from one account to another, or does nothing at all.
func transfer(ctx context.Context, bank *sql.DB, from, to string, amount int64) error {
	tx, err := bank.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	for _, step := range []struct {
		owner  string
		change int64
	}{{to, amount}, {from, -amount}} {
		res, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance + ? WHERE owner = ?", step.change, step.owner)
		if err != nil {
			return fmt.Errorf("%s: %w", step.owner, err)
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("there is no account of %s", step.owner))
		}
	}
	return tx.Commit()
}
