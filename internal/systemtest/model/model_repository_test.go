//go:build !race

package model_test

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// person is a record with columns that are unique, nullable, and not UTF-8.
// repository writes through a repository of structs, or of records.
func (m *model) repository() {
	ctx := context.Background()
	if m.one(3) {
		records, err := m.db.Define(ctx, "things", driftdb.Schema{driftdb.Text("name").Required(), driftdb.Real("score").Default(1.5), driftdb.Boolean("ok"), driftdb.Blob("data").Unique()})
		m.note("db", "Define things", nil, err)
		if err != nil {
			return
		}
		created, err := records.Create(ctx, driftdb.Record{"name": m.text(), "ok": m.one(2), "data": []byte(m.text())})
		m.note("things", "Create", nil, err)
		if err == nil && m.one(2) {
			_, err := records.Upsert(ctx, driftdb.Where{"id": created["id"]}, driftdb.Set{"name": m.text()})
			m.note("things", "Upsert", nil, err)
		}
		return
	}
	var err error
	m.people, err = driftdb.Define[systemtest.Person](ctx, m.db, "people")
	m.note("db", "Define people", nil, err)
	if err == nil {
		m.write(m.people, nil)
	}
}

// write does one thing to people, if they are defined.
func (m *model) write(people *driftdb.Repository[systemtest.Person], tx *driftdb.Tx) {
	if people == nil {
		return
	}
	if tx != nil {
		people = people.In(tx)
	}
	ctx := context.Background()
	where := driftdb.Where{"age": driftdb.Lt(m.below(10))}
	var err error
	var what string
	switch m.below(7) {
	case 0, 1:
		what = "Create"
		_, err = people.Create(ctx, m.person())
	case 2:
		many := make([]systemtest.Person, m.below(6))
		for i := range many {
			many[i] = m.person()
		}
		what = fmt.Sprint("CreateMany ", len(many))
		_, err = people.CreateMany(ctx, many)
	case 3:
		what = "Update"
		_, err = people.Update(ctx, where, driftdb.Set{"name": m.text(), "score": pick(m.T, 0, -0.5, 1e300)})
	case 4:
		what = "Upsert"
		_, err = people.Upsert(ctx, driftdb.Where{"email": m.text()}, driftdb.Set{"name": m.text(), "data": []byte(m.text())})
	case 5:
		what = "Delete"
		_, err = people.Delete(ctx, where)
	case 6:
		what = "DeleteByID"
		if found, e := people.Find(ctx, driftdb.Query{OrderBy: []driftdb.Order{driftdb.Asc("name")}, Limit: 1}); e == nil && len(found) == 1 {
			_, err = people.DeleteByID(ctx, found[0].ID)
		}
	}
	m.note("people", what, nil, err)
}

func (m *model) person() systemtest.Person {
	p := systemtest.Person{Name: m.text(), Score: pick(m.T, 0, 1, 5e-324), Data: []byte(m.text())}
	if m.one(2) {
		email := m.text()
		p.Email = &email
	}
	if age := int64(m.below(20)); age < 10 {
		p.Age = &age
	}
	return p
}
