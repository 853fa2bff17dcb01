package main

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/driftdb/driftdb-go/bench/peers/users"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// engine is what DriftDB stands on, without what it adds: its SQLite with its VFS, page cache
// and compiled statements, one connection, and no capture, repository or kept snapshot. It shows
// how fast DriftDB's writes and ranges could be at most.
type engine struct {
	conn                               *sqlite.Conn
	insertRow, updateRow, byID, byAges *sqlite.Stmt
}

func openEngine(folder string) (side, error) {
	conn, err := sqlite.Open(filepath.Join(folder, "engine.sqlite"), sqlite.Options{CacheKiB: 64_000, ForeignKeys: true})
	if err != nil {
		return nil, err
	}
	if err := conn.Exec(users.Create); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	e := &engine{conn: conn}
	for st, query := range map[**sqlite.Stmt]string{
		&e.insertRow: users.Insert, &e.updateRow: users.Update, &e.byID: users.ByID, &e.byAges: users.ByAges,
	} {
		if *st, err = conn.Prepare(query); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return e, nil
}

func (e *engine) create(i int) (id string, err error) {
	id, args := users.Values(users.New(i, 100))
	for k, v := range args {
		switch v := v.(type) {
		case string:
			e.insertRow.BindText(k+1, v)
		case int64:
			e.insertRow.BindInt64(k+1, v)
		case int:
			e.insertRow.BindInt64(k+1, int64(v))
		}
	}
	return id, e.insertRow.Run()
}

func (e *engine) load(from, n int) (ids []string, err error) {
	if err := e.conn.Do("BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}
	for i := range n {
		id, err := e.create(from + i)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, e.conn.Do("COMMIT")
}

func (e *engine) fill(n int) (ids []string, err error) { return e.load(0, n) }

func (e *engine) insert(i int) error {
	_, err := e.create(i)
	return err
}

func (e *engine) bulk(from, n int) error {
	_, err := e.load(from, n)
	return err
}

// rows reads what a statement returns.
func (e *engine) rows(st *sqlite.Stmt) (found []users.User, err error) {
	defer st.Reset()
	for {
		row, err := st.Step()
		if err != nil || !row {
			return found, err
		}
		u := users.User{Name: st.Text(3), Email: st.Text(4), Age: int(st.Int64(5))}
		u.ID, u.CreatedAt, u.UpdatedAt = st.Text(0), time.UnixMilli(st.Int64(1)).UTC(), time.UnixMilli(st.Int64(2)).UTC()
		found = append(found, u)
	}
}

func (e *engine) update(id string, age int) error {
	e.updateRow.BindInt64(1, int64(age))
	e.updateRow.BindInt64(2, time.Now().UnixMilli())
	e.updateRow.BindText(3, id)
	_, err := e.rows(e.updateRow)
	return err
}

func (e *engine) lookup(id string) error {
	e.byID.BindText(1, id)
	_, err := e.rows(e.byID)
	return err
}

func (e *engine) span(age int) (int, error) {
	e.byAges.BindInt64(1, int64(age))
	e.byAges.BindInt64(2, int64(age+10))
	found, err := e.rows(e.byAges)
	return len(found), err
}

func (e *engine) close() error {
	for _, st := range []*sqlite.Stmt{e.insertRow, e.updateRow, e.byID, e.byAges} {
		st.Finalize()
	}
	return e.conn.Close()
}
