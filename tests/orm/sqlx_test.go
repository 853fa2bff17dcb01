package orm_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

type Track struct {
	ID       int64           `db:"id"`
	Title    string          `db:"title"`
	Artist   sql.NullString  `db:"artist"`
	Seconds  sql.NullFloat64 `db:"seconds"`
	Added    time.Time       `db:"added"`
	Waveform []byte          `db:"waveform"`
}

const tracksSchema = `
CREATE TABLE tracks(id INTEGER PRIMARY KEY, title TEXT NOT NULL, artist TEXT, seconds REAL, added TIMESTAMP NOT NULL, waveform BLOB);
CREATE TABLE playlist(name TEXT NOT NULL, position INTEGER NOT NULL, track INTEGER NOT NULL REFERENCES tracks ON DELETE CASCADE,
	PRIMARY KEY(name, position)) WITHOUT ROWID;
CREATE TABLE history(what TEXT NOT NULL, track INTEGER);
CREATE TRIGGER deleted AFTER DELETE ON tracks BEGIN INSERT INTO history VALUES('deleted ' || old.title, old.id); END;`

func openSQLX(t *testing.T) *sqlx.DB {
	t.Helper()
	db := sqlx.NewDb(open(t).SQL(), "sqlite")
	db.MustExec(tracksSchema)
	return db
}

func TestSQLX(t *testing.T) {
	db := openSQLX(t)
	added := time.Date(2026, 3, 29, 2, 30, 0, 123456789, time.FixedZone("", 3600))
	insert := "INSERT INTO tracks(id, title, artist, seconds, added, waveform) VALUES(:id, :title, :artist, :seconds, :added, :waveform)"
	_, err := db.NamedExec(insert, []Track{
		{ID: 1, Title: "Überall", Artist: sql.NullString{String: "Ann", Valid: true}, Seconds: sql.NullFloat64{Float64: 180, Valid: true}, Added: added, Waveform: []byte{0, 0xff}},
		{ID: 2, Title: "Silence", Added: added},
		{ID: 1 << 60, Title: "Encore", Added: added},
	})
	must(t, err)
	list, err := db.PrepareNamed("INSERT INTO playlist VALUES(:name, :position, :track)")
	must(t, err)
	for i, track := range []int{1, 2, 1} {
		list.MustExec(map[string]any{"name": "evening", "position": i, "track": track})
	}
	must(t, list.Close())
	query, args, err := sqlx.In("UPDATE tracks SET seconds = coalesce(seconds, 0) + ? WHERE id IN (?)", 0.5, []int64{1, 2, 1 << 60})
	must(t, err)
	db.MustExec(db.Rebind(query), args...)
	db.MustExec("DELETE FROM tracks WHERE id = 2") // cascades, and fires the trigger

	var track Track
	must(t, db.Get(&track, "SELECT * FROM tracks WHERE title = ?", "Überall"))
	equal(t, "seconds", track.Seconds.Float64, 180.5)
	if !track.Added.Equal(added) {
		t.Errorf("added %v, want %v", track.Added, added)
	}
	var titles []string
	must(t, db.Select(&titles, "SELECT title FROM playlist JOIN tracks ON id = track ORDER BY position"))
	equal(t, "playlist", fmt.Sprint(titles), "[Überall Überall]")
	var what string
	must(t, db.Get(&what, "SELECT what FROM history"))
	equal(t, "history", what, "deleted Silence")
	if _, err := db.Exec("INSERT INTO playlist VALUES('evening', 9, 999)"); err == nil {
		t.Error("an unknown track was accepted")
	}
}

func TestSQLXTransactions(t *testing.T) {
	db := openSQLX(t)
	insert := "INSERT INTO tracks(title, added) VALUES(?, CURRENT_TIMESTAMP)"
	tx := db.MustBegin()
	tx.MustExec(insert, "kept")
	tx.MustExec("SAVEPOINT one")
	tx.MustExec(insert, "dropped")
	tx.MustExec("SAVEPOINT two")
	tx.MustExec("UPDATE tracks SET title = 'lost'")
	tx.MustExec("ROLLBACK TO one")
	tx.MustExec(insert, "kept, too")
	tx.MustExec("RELEASE one")
	must(t, tx.Commit())
	tx = db.MustBegin()
	tx.MustExec("DELETE FROM tracks")
	tx.MustExec("CREATE TABLE never(a)")
	must(t, tx.Rollback())
	var titles []string
	must(t, db.Select(&titles, "SELECT title FROM tracks ORDER BY id"))
	equal(t, "tracks", fmt.Sprintf("%q", titles), `["kept" "kept, too"]`)
}

func TestSQLXConcurrently(t *testing.T) {
	db := openSQLX(t)
	together(t, 8, func(i int) error {
		for range 10 {
			if err := appendTrack(db, fmt.Sprint("by ", i)); err != nil {
				return err
			}
		}
		return nil
	})
	var n int
	must(t, db.Get(&n, "SELECT max(id) FROM tracks"))
	equal(t, "tracks", n, 80)
}

// appendTrack inserts a track behind all others.
func appendTrack(db *sqlx.DB, title string) error {
	tx, err := db.Beginx()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var n int64
	if err := tx.Get(&n, "SELECT count(*) FROM tracks"); err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO tracks(id, title, added) VALUES(?, ?, CURRENT_TIMESTAMP)", n+1, title); err != nil {
		return err
	}
	return tx.Commit()
}
