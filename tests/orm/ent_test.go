package orm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/driftdb/driftdb-go/tests/orm/ent"
	"github.com/driftdb/driftdb-go/tests/orm/ent/author"
	"github.com/driftdb/driftdb-go/tests/orm/ent/book"
	"github.com/driftdb/driftdb-go/tests/orm/ent/migrate"
)

func openEnt(t *testing.T) *ent.Client {
	t.Helper()
	client := ent.NewClient(ent.Driver(entsql.OpenDB(dialect.SQLite, open(t).SQL())))
	must(t, client.Schema.Create(t.Context(), migrate.WithDropColumn(true), migrate.WithDropIndex(true)))
	return client
}

func TestEnt(t *testing.T) {
	ctx, client := t.Context(), openEnt(t)
	born := time.Date(1938, 1, 10, 0, 0, 0, 0, time.UTC)
	don := client.Author.Create().SetName("Don").SetBorn(born).SaveX(ctx)
	tony := client.Author.Create().SetName("Tony").SetMentor(don).SaveX(ctx)
	books := client.Book.CreateBulk(
		client.Book.Create().SetTitle("Volume 1").SetPrice(49.5).SetCover([]byte{0, 0xff}).AddAuthors(don),
		client.Book.Create().SetTitle("Quicksort").SetKeywords([]string{"sort", "fast"}).AddAuthors(don, tony),
		client.Book.Create().SetTitle("Draft").AddAuthors(tony),
	).SaveX(ctx)
	books[0].Update().AddPrice(0.5).AddAuthors(tony).ExecX(ctx)
	client.Author.Update().Where(author.Name("Tony")).RemoveBookIDs(books[1].ID).ExecX(ctx)
	client.Book.Delete().Where(book.Title("Draft")).ExecX(ctx)
	if _, err := client.ExecContext(ctx, "UPDATE books SET title = title || '!' WHERE price > ?", 10); err != nil {
		t.Fatal(err)
	}

	loaded := client.Author.Query().Where(author.Name("Tony")).WithBooks().WithMentor().OnlyX(ctx)
	equal(t, "mentor", loaded.Edges.Mentor.Name, "Don")
	equal(t, "books", fmt.Sprint(loaded.Edges.Books), fmt.Sprintf("[Book(id=%d, title=Volume 1!, price=50, cover=[0 255], keywords=[])]", books[0].ID))
	if got := client.Author.Query().Where(author.BornLT(born.AddDate(0, 0, 1))).OnlyX(ctx); !got.Born.Equal(born) || !got.CreatedAt.Equal(don.CreatedAt) {
		t.Errorf("born %v, created at %v", got.Born, got.CreatedAt)
	}
	if _, err := client.Author.Create().SetName("Don").Save(ctx); !ent.IsConstraintError(err) {
		t.Errorf("a second Don: %v", err)
	}
	client.Author.DeleteOne(don).ExecX(ctx) // the student and the books stay, the join rows go
	equal(t, "books without an author", client.Book.Query().Where(book.Not(book.HasAuthors())).CountX(ctx), 1)
	equal(t, "mentors", client.Author.Query().Where(author.HasMentor()).CountX(ctx), 0)
}

func TestEntTransactions(t *testing.T) {
	ctx, client := t.Context(), openEnt(t)
	inTx := func(fn func(*ent.Tx) error) error {
		tx, err := client.Tx(ctx)
		must(t, err)
		if err := fn(tx); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	}
	no := errors.New("no")
	must(t, inTx(func(tx *ent.Tx) error { return tx.Author.Create().SetName("kept").Exec(ctx) }))
	if err := inTx(func(tx *ent.Tx) error {
		tx.Author.Update().SetName("lost").ExecX(ctx)
		tx.Book.Create().SetTitle("never").ExecX(ctx)
		return no
	}); !errors.Is(err, no) {
		t.Fatal(err)
	}
	equal(t, "name", client.Author.Query().OnlyX(ctx).Name, "kept")
	equal(t, "books", client.Book.Query().CountX(ctx), 0)
}

func TestEntConcurrently(t *testing.T) {
	ctx, client := t.Context(), openEnt(t)
	shared := client.Book.Create().SetTitle("Anthology").SaveX(ctx)
	together(t, 8, func(i int) error {
		a, err := client.Author.Create().SetName(fmt.Sprint("author ", i)).AddBooks(shared).Save(ctx)
		if err != nil {
			return err
		}
		for range 5 {
			if err := addPrice(ctx, client, shared.ID); err != nil {
				return err
			}
		}
		return a.Update().SetName(fmt.Sprint("renamed ", i)).Exec(ctx)
	})
	equal(t, "authors", shared.QueryAuthors().CountX(ctx), 8)
	equal(t, "price", client.Book.GetX(ctx, shared.ID).Price, 40.0)
}

// addPrice reads a price and writes it back increased.
func addPrice(ctx context.Context, client *ent.Client, id int) error {
	tx, err := client.Tx(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	b, err := tx.Book.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := b.Update().SetPrice(b.Price + 1).Exec(ctx); err != nil {
		return err
	}
	return tx.Commit()
}
