package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/bench/peers/users"
	"github.com/driftdb/driftdb-go/objstore"
	_ "modernc.org/sqlite"
)

// filledRows is the number of users that exist before work that needs some.
const filledRows = 20_000

// bulkRows is the number of users that a bulk load writes in a transaction.
const bulkRows = 10_000

// stride visits the rows in an order that no cache predicts; it has no factor in common
// with filledRows.
const stride = 7919

// side is one way to do the work, on a new file.
type side interface {
	fill(n int) (ids []string, err error)
	insert(i int) error
	bulk(from, n int) error
	update(id string, age int) error
	lookup(id string) error
	span(age int) (rows int, err error) // of ages in [age, age+10)
	close() error
}

// measure does n operations (rows, for a bulk load and for ranges) and returns how long
// they took.
func measure(s side, work string, n int) (time.Duration, error) {
	var ids []string
	if work == "update" || work == "lookup" || work == "range" {
		var err error
		if ids, err = s.fill(filledRows); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	err := perform(s, work, n, ids)
	return time.Since(start), err
}

func perform(s side, work string, n int, ids []string) error {
	switch work {
	case "insert":
		return spread(1, n, s.insert)
	case "insert16":
		return spread(16, n, s.insert)
	case "insert64":
		return spread(64, n, s.insert)
	case "bulk":
		for i := 0; i < n; i += bulkRows {
			if err := s.bulk(i, min(bulkRows, n-i)); err != nil {
				return err
			}
		}
		return nil
	case "update":
		return spread(1, n, func(i int) error { return s.update(ids[i*stride%len(ids)], i%100) })
	case "lookup":
		return spread(1, n, func(i int) error { return s.lookup(ids[i*stride%len(ids)]) })
	case "range":
		for read, age := 0, 0; read < n; age = (age + 10) % 100 {
			rows, err := s.span(age)
			if err != nil {
				return err
			}
			read += rows
		}
		return nil
	}
	return fmt.Errorf("there is no work %q", work)
}

// spread calls do(0) to do(n-1) on this many goroutines, and returns one of their errors.
func spread(goroutines, n int, do func(i int) error) error {
	errs := make(chan error, goroutines)
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := g; i < n; i += goroutines {
				if err := do(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}

// ours is DriftDB: its changes are captured and, with a store, uploaded.
type ours struct {
	db    *driftdb.DB
	users *driftdb.Repository[users.User]
}

func openOurs(folder string, synced bool) (side, error) {
	ctx := context.Background()
	cfg := driftdb.Config{Name: "peers", Path: filepath.Join(folder, "ours.sqlite")}
	if synced {
		bucket := filepath.Join(folder, "bucket")
		if err := os.Mkdir(bucket, 0o700); err != nil {
			return nil, err
		}
		store, err := objstore.Dir(bucket)
		if err != nil {
			return nil, err
		}
		cfg.Store, cfg.SyncInterval = store, 500*time.Millisecond
	}
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	repo, err := driftdb.Define[users.User](ctx, db, "users")
	return &ours{db, repo}, err
}

func (o *ours) fill(n int) ([]string, error) {
	rows, err := o.create(0, n)
	ids := make([]string, len(rows))
	for i, u := range rows {
		ids[i] = u.ID
	}
	return ids, err
}

func (o *ours) create(from, n int) ([]users.User, error) {
	rows := make([]users.User, n)
	for i := range rows {
		rows[i] = users.New(from+i, 100)
	}
	return o.users.CreateMany(context.Background(), rows)
}

func (o *ours) insert(i int) error {
	_, err := o.users.Create(context.Background(), users.New(i, 100))
	return err
}

func (o *ours) bulk(from, n int) error {
	_, err := o.create(from, n)
	return err
}

func (o *ours) update(id string, age int) error {
	_, err := o.users.UpdateByID(context.Background(), id, driftdb.Set{"age": age})
	return err
}

func (o *ours) lookup(id string) error {
	_, err := o.users.FindByID(context.Background(), id)
	return err
}

func (o *ours) span(age int) (int, error) {
	rows, err := o.users.Find(context.Background(), driftdb.Query{Where: driftdb.Where{"age": driftdb.Ops{"$gte": age, "$lt": age + 10}}})
	return len(rows), err
}

func (o *ours) close() error { return o.db.Close() }

// plain is the same SQLite driver, used directly through database/sql.
type plain struct {
	db                                 *sql.DB
	insertRow, updateRow, byID, byAges *sql.Stmt
}

func openPlain(folder string) (side, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(folder, "plain.sqlite"))+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(ON)&_pragma=cache_size(-64000)&_pragma=temp_store(MEMORY)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
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
	return p, nil
}

func (p *plain) fill(n int) (ids []string, err error) { return p.load(0, n) }

func (p *plain) load(from, n int) (ids []string, err error) {
	tx, err := p.db.Begin()
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // does nothing after Commit
	st := tx.Stmt(p.insertRow)
	for i := range n {
		id, args := users.Values(users.New(from+i, 100))
		if _, err := st.Exec(args...); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, tx.Commit()
}

func (p *plain) insert(i int) error {
	_, args := users.Values(users.New(i, 100))
	_, err := p.insertRow.Exec(args...)
	return err
}

func (p *plain) bulk(from, n int) error {
	_, err := p.load(from, n)
	return err
}

func (p *plain) update(id string, age int) error {
	_, err := users.Scan(p.updateRow.QueryRow(age, time.Now().UnixMilli(), id))
	return err
}

func (p *plain) lookup(id string) error {
	_, err := users.Scan(p.byID.QueryRow(id))
	return err
}

func (p *plain) span(age int) (int, error) {
	rows, err := p.byAges.Query(age, age+10)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var found []users.User
	for rows.Next() {
		u, err := users.Scan(rows)
		if err != nil {
			return 0, err
		}
		found = append(found, u)
	}
	return len(found), rows.Err()
}

func (p *plain) close() error { return p.db.Close() }
