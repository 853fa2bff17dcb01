package driftdb_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log"
	"math"
	"strconv"
	"time"

	"github.com/driftdb/driftdb-go"
)

// A total that is always up to date: each change is counted exactly once.
func ExampleDB_Consume() {
	db := memory()
	defer db.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	_, err := db.Exec(ctx, `
		CREATE TABLE orders(id INTEGER PRIMARY KEY, amount INTEGER);
		CREATE TABLE total(amount INTEGER); INSERT INTO total VALUES(0);
		INSERT INTO orders(amount) VALUES(20), (22)`)
	if err != nil {
		log.Fatal(err)
	}
	last := db.Sequence()
	add := func(ctx context.Context, tx *driftdb.Tx, c driftdb.Change) error {
		if c.Operation == driftdb.OperationBarrier { // the log does not say what happened
			_, err := tx.Exec(ctx, "UPDATE total SET amount = (SELECT sum(amount) FROM orders)")
			return err
		}
		before, _ := c.Before["amount"].(int64)
		after, _ := c.After["amount"].(int64)
		_, err := tx.Exec(ctx, "UPDATE total SET amount = amount + ?", after-before)
		return err
	}
	go db.Consume(ctx, "total", add, driftdb.ConsumeOptions{From: 1, Table: "orders"})

	for c, err := range db.Changes(ctx, driftdb.ChangeQuery{Table: "total", From: last + 1, Wait: true}) {
		if err != nil {
			break
		}
		if fmt.Println(c.After["amount"]); c.After["amount"] == int64(42) {
			stop() // only this example ends here
		}
	}
	// Output:
	// 20
	// 42
}

// Changes as they are committed.
func ExampleDB_Changes_wait() {
	db := memory()
	defer db.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if _, err := db.Exec(ctx, "CREATE TABLE orders(id INTEGER PRIMARY KEY, amount INTEGER)"); err != nil {
		log.Fatal(err)
	}
	go db.Exec(ctx, "INSERT INTO orders(amount) VALUES(42)")
	for c, err := range db.Changes(ctx, driftdb.ChangeQuery{From: db.Sequence(), Table: "orders", Wait: true}) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(c.Operation, c.Key["id"], c.After["amount"])
		stop() // only this example ends here
	}
	// Output:
	// insert 1 42
	// driftdb: context canceled
}

// authentic reports whether a request to a webhook comes from who knows the secret, and
// is not an old one.
func authentic(secret []byte, id, timestamp, signature string, body []byte) bool {
	sent, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || math.Abs(time.Since(time.Unix(sent, 0)).Minutes()) > 5 {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return hmac.Equal([]byte(want), []byte(signature))
}

// A receiver of driftdb log --webhook checks who has sent a request.
func Example_webhook() {
	fmt.Println(authentic([]byte("a secret that nobody guesses"), "app/1", "1700000000", "v1,", []byte("{}")))
	// Output: false
}
