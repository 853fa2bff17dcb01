package orm_test

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"testing"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

func openGoose(t *testing.T, db *sql.DB, more ...*goose.Migration) *goose.Provider {
	t.Helper()
	folder, err := fs.Sub(migrations, "migrations")
	must(t, err)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, folder, goose.WithGoMigrations(more...))
	must(t, err)
	return p
}

func TestGoose(t *testing.T) {
	ctx, db := t.Context(), open(t).SQL()
	p := openGoose(t, db)
	do := func(query string) { t.Helper(); _, err := db.ExecContext(ctx, query); must(t, err) }
	_, err := p.UpTo(ctx, 1)
	must(t, err)
	do("INSERT INTO notes(text) VALUES(' buy milk '), ('call Ann')")
	_, err = p.Up(ctx)
	must(t, err)
	do("INSERT INTO notes(text, words) VALUES('sleep', 1); INSERT INTO note_search(rowid, text) SELECT id, text FROM notes WHERE text = 'sleep'")

	var found string
	must(t, db.QueryRowContext(ctx, "SELECT text FROM note_search WHERE note_search MATCH 'milk'").Scan(&found))
	equal(t, "found", found, "buy milk")
	_, err = p.DownTo(ctx, 1)
	must(t, err)
	do("UPDATE notes SET text = upper(text)")
	_, err = p.Up(ctx)
	must(t, err)
	version, err := p.GetDBVersion(ctx)
	must(t, err)
	equal(t, "version", version, 3)
	var words int
	must(t, db.QueryRowContext(ctx, "SELECT sum(words) FROM notes").Scan(&words))
	equal(t, "words", words, 5)
}

// A migration that fails leaves nothing of itself, neither here nor in the log.
func TestGooseFailedMigration(t *testing.T) {
	ctx, db := t.Context(), open(t).SQL()
	no := errors.New("no")
	p := openGoose(t, db, goose.NewGoMigration(4, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE never(a); INSERT INTO never VALUES(1); INSERT INTO notes(text) VALUES('never')"); err != nil {
			return err
		}
		return no
	}}, nil))
	if _, err := p.Up(ctx); !errors.Is(err, no) {
		t.Fatal(err)
	}
	var tables, notes int
	must(t, db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM sqlite_schema WHERE name = 'never'), (SELECT count(*) FROM notes)").Scan(&tables, &notes))
	equal(t, "tables and notes of the failed migration", tables+notes, 0)
	version, err := p.GetDBVersion(ctx)
	must(t, err)
	equal(t, "version", version, 3)
}

func TestGooseDown(t *testing.T) {
	ctx, db := t.Context(), open(t).SQL()
	p := openGoose(t, db)
	_, err := p.Up(ctx)
	must(t, err)
	_, err = p.DownTo(ctx, 0)
	must(t, err)
	var left int
	must(t, db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE tbl_name LIKE 'note%'").Scan(&left))
	equal(t, "tables left", left, 0)
}
