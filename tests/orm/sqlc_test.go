package orm_test

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/tests/orm/sqlc/bank"
)

//go:generate go run -C sqlc github.com/sqlc-dev/sqlc/cmd/sqlc@v1.30.0 generate

//go:embed sqlc/schema.sql
var bankSchema string

func openBank(t *testing.T) (*sql.DB, *bank.Queries) {
	t.Helper()
	db := open(t).SQL()
	_, err := db.ExecContext(t.Context(), bankSchema)
	must(t, err)
	return db, bank.New(db)
}

func openAccount(t *testing.T, q *bank.Queries, owner string, balance int64) bank.Account {
	t.Helper()
	a, err := q.CreateAccount(t.Context(), bank.CreateAccountParams{Owner: owner, Balance: balance, Photo: []byte(owner)})
	must(t, err)
	return a
}

// pay moves money from one account to another, in one transaction.
func pay(ctx context.Context, db *sql.DB, from, to, amount int64, made time.Time) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	q := bank.New(db).WithTx(tx)
	if err := q.RecordTransfer(ctx, bank.RecordTransferParams{Sender: from, Recipient: to, Amount: amount, Made: made}); err != nil {
		return err
	}
	if _, err := q.Deposit(ctx, bank.DepositParams{ID: to, Amount: amount}); err != nil {
		return err
	}
	if _, err := q.Deposit(ctx, bank.DepositParams{ID: from, Amount: -amount}); err != nil {
		return err
	}
	return tx.Commit()
}

func TestSQLC(t *testing.T) {
	ctx := t.Context()
	db, q := openBank(t)
	ann, ben := openAccount(t, q, "Ann", 100), openAccount(t, q, "Ben", 5)
	made := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	must(t, pay(ctx, db, ann.ID, ben.ID, 30, made))
	must(t, pay(ctx, db, ann.ID, ben.ID, 20, made.Add(90*time.Minute)))
	if err := pay(ctx, db, ben.ID, ann.ID, 1000, made); err == nil { // rolled back by CHECK (balance >= 0)
		t.Error("an account was overdrawn")
	}
	between, err := q.TransfersBetween(ctx, bank.TransfersBetweenParams{Since: made.Add(time.Minute), Until: made.Add(24 * time.Hour)})
	must(t, err)
	equal(t, "transfers", len(between), 1)
	equal(t, "sender, number, amount", fmt.Sprintf("%s %d %d", between[0].SenderName, between[0].Number, between[0].Amount), "Ann 2 20")
	if !between[0].Made.Equal(made.Add(90 * time.Minute)) {
		t.Errorf("made at %v", between[0].Made)
	}
	renamed, err := q.OpenOrRename(ctx, bank.OpenOrRenameParams{ID: ben.ID, Owner: "Benjamin"})
	must(t, err)
	equal(t, "balance of the renamed account", renamed.Balance, 55)
	must(t, q.CloseAccount(ctx, ann.ID)) // and its transfers, by cascade
	accounts, err := q.Accounts(ctx)
	must(t, err)
	equal(t, "accounts", fmt.Sprint(accounts), "[{2 Benjamin 55 [66 101 110]}]")
}

func TestSQLCConcurrently(t *testing.T) {
	db, q := openBank(t)
	ann, ben := openAccount(t, q, "Ann", 1000), openAccount(t, q, "Ben", 1000)
	together(t, 8, func(i int) error {
		for n := range int64(10) {
			from, to := ann.ID, ben.ID
			if i%2 == 1 {
				from, to = to, from
			}
			if err := pay(t.Context(), db, from, to, n, time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
	a, err := q.Account(t.Context(), "Ann")
	must(t, err)
	equal(t, "Ann's balance", a.Balance, 1000)
}
