package repository_test

import (
	"errors"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

type account struct {
	driftdb.Base
	Owner   *string
	Balance int64
	Email   string  `db:",unique"`
	Nick    *string `db:",omitzero"`
}

func TestConstraintErrors(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	systemtest.Exec(t, db, `CREATE TABLE owners (id TEXT PRIMARY KEY)`)
	systemtest.Exec(t, db, `CREATE TABLE accounts (id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
		owner TEXT REFERENCES owners (id) ON DELETE CASCADE, balance INTEGER NOT NULL CHECK (balance >= 0),
		email TEXT NOT NULL UNIQUE, nick TEXT, UNIQUE (nick, balance))`)
	systemtest.Exec(t, db, `CREATE TRIGGER frozen BEFORE UPDATE ON accounts WHEN new.balance = 13 BEGIN SELECT RAISE(ABORT, 'unlucky'); END`)
	systemtest.Exec(t, db, `CREATE UNIQUE INDEX folded ON accounts (lower(email)) WHERE balance = 7`)
	accounts := systemtest.Define[account](t, db, "accounts")
	ghost, nick := "ghost", "nick"
	first := systemtest.Must(accounts.Create(ctx, account{Email: "a@b (2067)", Nick: &nick}))
	seventh := systemtest.Must(accounts.Create(ctx, account{Email: "q", Balance: 7}))
	update := func(s driftdb.Set) error { return systemtest.ErrorOf(accounts.UpdateByID(ctx, first.ID, s)) }
	create := func(a account) error { return systemtest.ErrorOf(accounts.Create(ctx, a)) }
	for name, tc := range map[string]struct {
		err    error
		column string
		kind   driftdb.ConstraintKind
	}{
		"unique":            {create(account{Email: "a@b (2067)"}), "email", driftdb.ConstraintUnique},
		"unique expression": {create(account{Email: "Q", Balance: 7}), "", driftdb.ConstraintUnique},
		"unique pair":       {create(account{Email: "x", Nick: &nick}), "nick, balance", driftdb.ConstraintUnique},
		"primary key":       {create(account{Base: first.Base, Email: "y"}), "id", driftdb.ConstraintUnique},
		"NOT NULL":          {update(driftdb.Set{"email": nil}), "email", driftdb.ConstraintNotNull},
		"CHECK":             {create(account{Email: "z", Balance: -1}), "balance", driftdb.ConstraintCheck},
		"CHECK on update":   {update(driftdb.Set{"balance": -1}), "balance", driftdb.ConstraintCheck},
		"foreign key":       {create(account{Email: "z", Owner: &ghost}), "", driftdb.ConstraintForeignKey},
		"trigger":           {update(driftdb.Set{"balance": 13}), "", driftdb.ConstraintTrigger},
		"many":              {systemtest.ErrorOf(accounts.CreateMany(ctx, []account{{Email: "p"}, {Email: "p"}})), "email", driftdb.ConstraintUnique},
		"update of many":    {systemtest.ErrorOf(accounts.Update(ctx, driftdb.All, driftdb.Set{"balance": -1})), "balance", driftdb.ConstraintCheck},
		"upsert":            {systemtest.ErrorOf(accounts.Upsert(ctx, driftdb.Where{"email": "n"}, driftdb.Set{"balance": -1})), "balance", driftdb.ConstraintCheck},
	} {
		e, ok := errors.AsType[*driftdb.ConstraintError](tc.err)
		if !ok || e.Table != "accounts" || e.Column != tc.column || e.Kind != tc.kind || e.Err == nil {
			t.Errorf("%s: got %#v (%v), want column %q, kind %q", name, tc.err, tc.err, tc.column, tc.kind)
		}
	}
	systemtest.Must(accounts.DeleteByID(ctx, seventh.ID))
	if n := systemtest.Must(accounts.Count(ctx)); n != 1 {
		t.Errorf("a failure stored something: there are %d rows", n)
	}
	// What a user adds in SQL goes on working: the cascade.
	systemtest.Exec(t, db, `INSERT INTO owners VALUES ('o')`)
	systemtest.Must(accounts.UpdateByID(ctx, first.ID, driftdb.Set{"owner": "o"}))
	systemtest.Exec(t, db, `DELETE FROM owners`)
	if n := systemtest.Must(accounts.Count(ctx)); n != 0 {
		t.Errorf("the cascade left %d rows", n)
	}
}

// A table may say that it ignores rows. Then Create must not return one.
func TestIgnoredRows(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	systemtest.Exec(t, db, `CREATE TABLE users (id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
		email TEXT UNIQUE ON CONFLICT IGNORE, note TEXT DEFAULT '')`)
	users := systemtest.Must(db.Define(ctx, "users", driftdb.Schema{driftdb.Text("email")}))
	systemtest.Must(users.Create(ctx, driftdb.Record{"email": "a"}))
	if row, err := users.Create(ctx, driftdb.Record{"email": "a"}); err == nil {
		t.Errorf("created %v, which is not there", row)
	}
	if _, err := users.CreateMany(ctx, []driftdb.Record{{"email": "b"}, {"email": "c"}, {"email": "a"}, {"email": "d"}}); err == nil {
		t.Error("created rows that are not there")
	}
	if n := systemtest.Must(users.Count(ctx)); n != 1 {
		t.Errorf("there are %d rows, want 1", n)
	}
	if _, err := users.Upsert(ctx, driftdb.Where{"id": "x"}, driftdb.Set{"email": "a"}); err == nil {
		t.Error("upserted a row that is not there")
	}
}
