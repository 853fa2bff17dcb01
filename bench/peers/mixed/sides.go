package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/bench/peers/users"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// rows is the number of users that exist before a round; ages go up to ages.
const (
	rows = 20_000
	ages = 2_000
)

// side is one way to do the work.
type side interface {
	fill(ctx context.Context) error
	create(ctx context.Context, i int) error
	update(ctx context.Context, i int) error
	transaction(ctx context.Context, i int) error
	lookup(ctx context.Context, i int) error
	span(ctx context.Context, i int) error // reads 100 rows through an index
	close() error
}

// stride visits the rows in an order that no cache predicts.
const stride = 7919

func pick(i int) int { return i * stride % rows }

// ours is DriftDB without a store: repositories, and DB.SQL for the transactions.
type ours struct {
	db    *driftdb.DB
	users *driftdb.Repository[users.User]
	ids   []string
}

func openOurs(ctx context.Context, folder string) (side, error) {
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "mixed", Path: filepath.Join(folder, "ours.sqlite")})
	if err != nil {
		return nil, err
	}
	repo, err := driftdb.Define[users.User](ctx, db, "users")
	return &ours{db: db, users: repo}, err
}

func (o *ours) fill(ctx context.Context) error {
	all := make([]users.User, rows)
	for i := range all {
		all[i] = users.New(i, ages)
	}
	made, err := o.users.CreateMany(ctx, all)
	for _, u := range made {
		o.ids = append(o.ids, u.ID)
	}
	return err
}

func (o *ours) create(ctx context.Context, i int) error {
	_, err := o.users.Create(ctx, users.New(i, ages))
	return err
}

func (o *ours) update(ctx context.Context, i int) error {
	_, err := o.users.UpdateByID(ctx, o.ids[pick(i)], driftdb.Set{"age": i % ages})
	return err
}

func (o *ours) transaction(ctx context.Context, i int) error {
	return transaction(ctx, o.db.SQL(), o.ids[pick(i)], i)
}

func (o *ours) lookup(ctx context.Context, i int) error {
	_, err := o.users.FindByID(ctx, o.ids[pick(i)])
	return err
}

func (o *ours) span(ctx context.Context, i int) error {
	from := i % (ages - 10)
	_, err := o.users.Find(ctx, driftdb.Query{Where: driftdb.Where{"age": driftdb.Ops{"$gte": from, "$lt": from + 10}}})
	return err
}

func (o *ours) close() error { return o.db.Close() }

// transaction updates a row, as a program does that uses database/sql.
func transaction(ctx context.Context, db *sql.DB, id string, i int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if _, err := tx.ExecContext(ctx, "UPDATE users SET age = ? WHERE id = ?", i%ages, id); err != nil {
		return err
	}
	return tx.Commit()
}

// plain is the same driver through database/sql, with a pool of connections.
type plain struct {
	db                                 *sql.DB
	insertRow, updateRow, byID, byAges *sql.Stmt
	ids                                []string
}

func openPlain(_ context.Context, folder string) (side, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(folder, "plain.sqlite"))+
		"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(ON)")
	if err != nil {
		return nil, err
	}
	if _, err = db.Exec(users.Create); err != nil {
		return nil, err
	}
	p := &plain{db: db}
	for st, query := range map[**sql.Stmt]string{
		&p.insertRow: users.Insert, &p.updateRow: users.Update, &p.byID: users.ByID, &p.byAges: users.ByAges,
	} {
		if *st, err = db.Prepare(query); err != nil {
			return nil, err
		}
	}
	db.SetMaxIdleConns(16)
	return p, nil
}

func (p *plain) fill(ctx context.Context) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	st := tx.Stmt(p.insertRow)
	for i := range rows {
		id, args := users.Values(users.New(i, ages))
		if _, err := st.ExecContext(ctx, args...); err != nil {
			return err
		}
		p.ids = append(p.ids, id)
	}
	return tx.Commit()
}

func (p *plain) create(ctx context.Context, i int) error {
	_, args := users.Values(users.New(i, ages))
	_, err := p.insertRow.ExecContext(ctx, args...)
	return err
}

func (p *plain) update(ctx context.Context, i int) error {
	_, err := users.Scan(p.updateRow.QueryRowContext(ctx, i%ages, time.Now().UnixMilli(), p.ids[pick(i)]))
	return err
}

func (p *plain) transaction(ctx context.Context, i int) error {
	return transaction(ctx, p.db, p.ids[pick(i)], i)
}

func (p *plain) lookup(ctx context.Context, i int) error {
	_, err := users.Scan(p.byID.QueryRowContext(ctx, p.ids[pick(i)]))
	return err
}

func (p *plain) span(ctx context.Context, i int) error {
	from := i % (ages - 10)
	found, err := p.byAges.QueryContext(ctx, from, from+10)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if _, err := users.Scan(found); err != nil {
			return err
		}
	}
	return found.Err()
}

func (p *plain) close() error { return p.db.Close() }
