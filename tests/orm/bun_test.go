package orm_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

type Order struct {
	ID       int64      `bun:",pk,autoincrement"`
	Customer string     `bun:",notnull"`
	Note     *string    // NULL if nil
	Placed   time.Time  `bun:",nullzero,notnull,default:current_timestamp"`
	Deleted  time.Time  `bun:",soft_delete,nullzero"`
	Items    []*Product `bun:"m2m:order_items,join:Order=Product"`
}

type Product struct {
	SKU   string `bun:",pk"`
	Stock int
	Price float64
	Label []byte
}

type OrderItem struct {
	OrderID    int64    `bun:",pk"`
	Order      *Order   `bun:"rel:belongs-to,join:order_id=id"`
	ProductSKU string   `bun:",pk"`
	Product    *Product `bun:"rel:belongs-to,join:product_sku=sku"`
}

func openBun(t *testing.T) *bun.DB {
	t.Helper()
	db := bun.NewDB(open(t).SQL(), sqlitedialect.New())
	db.RegisterModel((*OrderItem)(nil)) // before its ends are used
	for _, model := range []any{(*Order)(nil), (*Product)(nil), (*OrderItem)(nil)} {
		_, err := db.NewCreateTable().Model(model).IfNotExists().WithForeignKeys().Exec(t.Context())
		must(t, err)
	}
	_, err := db.NewCreateIndex().Model((*Order)(nil)).Index("order_customer").Column("customer").Exec(t.Context())
	must(t, err)
	return db
}

func TestBun(t *testing.T) {
	ctx, db := t.Context(), openBun(t)
	do := func(_ sql.Result, err error) { t.Helper(); must(t, err) }
	note := "ring twice"
	orders := []Order{{Customer: "Ann", Note: &note}, {Customer: "Ben"}, {Customer: "Cleo"}}
	do(db.NewInsert().Model(&orders).Exec(ctx))
	products := []Product{{SKU: "tea", Stock: 10, Price: 3.5, Label: []byte("\x00\xfftea")}, {SKU: "cup", Stock: 2, Price: 8}}
	do(db.NewInsert().Model(&products).Exec(ctx))
	do(db.NewInsert().Model(&Product{SKU: "cup", Stock: 5}).On("CONFLICT (sku) DO UPDATE").Set("stock = product.stock + EXCLUDED.stock").Exec(ctx))
	do(db.NewInsert().Model(&[]OrderItem{{OrderID: 1, ProductSKU: "tea"}, {OrderID: 1, ProductSKU: "cup"}, {OrderID: 2, ProductSKU: "cup"}}).Exec(ctx))
	products[0].Price = 4
	do(db.NewUpdate().Model(&products[0]).Column("price").WherePK().Exec(ctx))
	do(db.NewDelete().Model((*OrderItem)(nil)).Where("order_id = ?", 2).Exec(ctx))
	do(db.NewDelete().Model(&orders[1]).WherePK().Exec(ctx))               // soft
	do(db.NewDelete().Model(&orders[2]).WherePK().ForceDelete().Exec(ctx)) // for good
	do(db.ExecContext(ctx, "UPDATE products SET stock = stock - 1 WHERE price > ?", 3.9))
	do(db.NewAddColumn().Model((*Product)(nil)).ColumnExpr("discontinued BOOLEAN NOT NULL DEFAULT FALSE").Exec(ctx))

	var loaded Order
	must(t, db.NewSelect().Model(&loaded).Relation("Items").Where("customer = ?", "Ann").Scan(ctx))
	equal(t, "note", *loaded.Note, note)
	equal(t, "items", len(loaded.Items), 2)
	if !loaded.Placed.Equal(orders[0].Placed) || time.Since(loaded.Placed).Abs() > time.Hour {
		t.Errorf("placed at %v, then %v", orders[0].Placed, loaded.Placed)
	}
	visible, err := db.NewSelect().Model((*Order)(nil)).Count(ctx)
	must(t, err)
	all, err := db.NewSelect().Model((*Order)(nil)).WhereAllWithDeleted().Count(ctx)
	must(t, err)
	equal(t, "orders, and with deleted ones", fmt.Sprint(visible, all), "1 2")
	if _, err := db.NewInsert().Model(&OrderItem{OrderID: 1, ProductSKU: "none"}).Exec(ctx); err == nil {
		t.Error("an item of an unknown product was accepted")
	}
}

func TestBunTransactions(t *testing.T) {
	ctx, db := t.Context(), openBun(t)
	no := errors.New("no")
	insert := func(tx bun.Tx, customer string) {
		_, err := tx.NewInsert().Model(&Order{Customer: customer}).Exec(ctx)
		must(t, err)
	}
	must(t, db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		insert(tx, "kept")
		inner := tx.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { // a savepoint
			insert(tx, "dropped")
			return no
		})
		if !errors.Is(inner, no) {
			return fmt.Errorf("inner transaction: %w", inner)
		}
		return tx.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { insert(tx, "kept, too"); return nil })
	}))
	if err := db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { insert(tx, "never"); return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	var names []string
	must(t, db.NewSelect().Model((*Order)(nil)).Column("customer").Order("id").Scan(ctx, &names))
	equal(t, "orders", fmt.Sprintf("%q", names), `["kept" "kept, too"]`)
}

func TestBunConcurrently(t *testing.T) {
	ctx, db := t.Context(), openBun(t)
	_, err := db.NewInsert().Model(&Product{SKU: "tea", Stock: 100}).Exec(ctx)
	must(t, err)
	together(t, 8, func(i int) error {
		for range 5 {
			err := db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				tea := Product{SKU: "tea"}
				if err := tx.NewSelect().Model(&tea).WherePK().Scan(ctx); err != nil {
					return err
				}
				tea.Stock--
				order := Order{Customer: fmt.Sprint("customer ", i)}
				if _, err := tx.NewInsert().Model(&order).Exec(ctx); err != nil {
					return err
				}
				if _, err := tx.NewInsert().Model(&OrderItem{OrderID: order.ID, ProductSKU: "tea"}).Exec(ctx); err != nil {
					return err
				}
				_, err := tx.NewUpdate().Model(&tea).WherePK().Exec(ctx)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	var stock, sold int
	must(t, db.NewSelect().Model((*Product)(nil)).Column("stock").Scan(ctx, &stock))
	must(t, db.NewSelect().Model((*OrderItem)(nil)).ColumnExpr("count(*)").Scan(ctx, &sold))
	equal(t, "stock and sold", fmt.Sprint(stock, sold), "60 40")
}
