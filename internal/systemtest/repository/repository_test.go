package repository_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// newDB opens a database of the test's own.
func newDB(t testing.TB) *driftdb.DB {
	t.Helper()
	return systemtest.Open(t, systemtest.Config(t))
}

type user struct {
	driftdb.Base
	Name  string
	Email string `db:"email,unique"`
	Age   *int
	Role  string            `db:",omitzero,default=member"`
	Tags  map[string]string `db:",json"`
	Seen  time.Time
}

func TestCreateStruct(t *testing.T) {
	ctx := t.Context()
	users := systemtest.Define[user](t, newDB(t), "users")
	age, before := 30, time.Now().Truncate(time.Millisecond)
	seen := time.Date(2024, 1, 1, 12, 0, 0, 123_456_789, time.FixedZone("x", 7200))
	created := systemtest.Must(users.Create(ctx, user{Name: "Alice", Email: "a@example.com", Age: &age, Tags: map[string]string{"a": "b"}, Seen: seen}))
	if len(created.ID) != 36 || created.ID[14] != '7' {
		t.Errorf("the id is no UUIDv7: %q", created.ID)
	}
	if created.CreatedAt.Before(before) || created.CreatedAt.After(time.Now()) || created.UpdatedAt != created.CreatedAt {
		t.Errorf("times: %v, %v", created.CreatedAt, created.UpdatedAt)
	}
	if created.Role != "member" {
		t.Errorf("the default was not read back: %q", created.Role)
	}
	if want := seen.Truncate(time.Millisecond).UTC(); created.Seen != want {
		t.Errorf("seen is %v, want %v", created.Seen, want)
	}
	if found := systemtest.Must(users.FindByID(ctx, created.ID)); !reflect.DeepEqual(found, created) {
		t.Errorf("found   %+v\ncreated %+v", found, created)
	}
	// What is given is kept.
	given := user{Base: driftdb.Base{ID: "mine", CreatedAt: seen, UpdatedAt: seen}, Email: "b", Role: "lead"}
	kept := systemtest.Must(users.Create(ctx, given))
	if kept.ID != "mine" || !kept.CreatedAt.Equal(seen.Truncate(time.Millisecond)) || kept.Role != "lead" || kept.Age != nil {
		t.Errorf("got %+v", kept)
	}
}

func TestCreateRecord(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	posts := systemtest.Must(db.Define(ctx, "posts", driftdb.Schema{
		driftdb.Text("title").Required(), driftdb.Text("content"), driftdb.Boolean("published").Default(false),
		driftdb.Integer("views").Default(0).Index(), driftdb.Real("score"), driftdb.Blob("data"),
	}))
	post := systemtest.Must(posts.Create(ctx, driftdb.Record{"title": "Hello", "score": 1, "data": []byte{1}}))
	id, at := post["id"], post["createdAt"]
	want := driftdb.Record{"id": id, "createdAt": at, "updatedAt": at, "title": "Hello", "content": nil,
		"published": false, "views": int64(0), "score": 1.0, "data": []byte{1}}
	if !reflect.DeepEqual(post, want) {
		t.Errorf("got  %v\nwant %v", post, want)
	}
	if found := systemtest.Must(posts.FindOne(ctx, driftdb.Where{"published": false})); !reflect.DeepEqual(found, want) {
		t.Errorf("got  %v\nwant %v", found, want)
	}
	if _, ok := at.(int64); !ok {
		t.Errorf("createdAt is a %T", at)
	}
	for name, tc := range map[string]struct {
		record driftdb.Record
		column string
	}{
		"unknown field": {driftdb.Record{"title": "x", "titel": "y"}, "titel"},
		"wrong type":    {driftdb.Record{"title": 5}, "title"},
		"lossy":         {driftdb.Record{"title": "x", "views": 1.5}, "views"},
		"NaN":           {driftdb.Record{"title": "x", "score": math.NaN()}, "score"},
	} {
		_, err := posts.Create(ctx, tc.record)
		if e, ok := errors.AsType[*driftdb.SchemaError](err); !ok || e.Table != "posts" || e.Column != tc.column {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCreateMany(t *testing.T) {
	ctx := t.Context()
	users := systemtest.Define[user](t, newDB(t), "users")
	// Around the sizes of statements, with defaults to fill in here and there.
	for _, n := range []int{0, 1, 2, 63, 64, 65, 127, 200} {
		systemtest.Must(users.Delete(ctx, driftdb.All))
		var in []user
		for i := range n {
			u := user{Name: fmt.Sprint(i), Email: fmt.Sprint(i), Role: "x"}
			if i%50 == 17 {
				u.Role = ""
			}
			in = append(in, u)
		}
		created := systemtest.Must(users.CreateMany(ctx, in))
		if created == nil || len(created) != n {
			t.Fatalf("%d rows came back for %d", len(created), n)
		}
		for i, u := range created {
			if u.Name != in[i].Name || u.Role == "" || u.ID == "" {
				t.Fatalf("row %d: %+v", i, u)
			}
		}
		found := systemtest.Must(users.Find(ctx, driftdb.Query{OrderBy: []driftdb.Order{driftdb.Asc("id")}}))
		if !reflect.DeepEqual(found, created) {
			t.Errorf("%d rows: what was found is not what was created", n)
		}
	}
	// One bad row, and nothing is stored: neither in SQL nor before it.
	systemtest.Must(users.Delete(ctx, driftdb.All))
	many := make([]user, 100)
	for i := range many {
		many[i].Email = fmt.Sprint(i)
	}
	many[99].Email = "0"
	if _, err := users.CreateMany(ctx, many); !errors.As(err, new(*driftdb.ConstraintError)) {
		t.Errorf("got %v", err)
	}
	many[99] = user{Email: "99", Seen: time.Unix(math.MaxInt64/2, 0)}
	if _, err := users.CreateMany(ctx, many); !errors.As(err, new(*driftdb.SchemaError)) {
		t.Errorf("got %v", err)
	}
	if n := systemtest.Must(users.Count(ctx)); n != 0 {
		t.Errorf("%d rows were stored", n)
	}
}

func TestFind(t *testing.T) {
	ctx := t.Context()
	users := systemtest.Define[user](t, newDB(t), "users")
	if found, err := users.Find(ctx, driftdb.Query{}); found == nil || len(found) != 0 || err != nil {
		t.Errorf("got %v, %v, want an empty slice", found, err)
	}
	for _, err := range []error{
		systemtest.ErrorOf(users.FindByID(ctx, "nope")),
		systemtest.ErrorOf(users.FindOne(ctx, driftdb.Where{"name": "nobody"})),
		systemtest.ErrorOf(users.UpdateByID(ctx, "nope", driftdb.Set{"name": "x"})),
	} {
		if !errors.Is(err, driftdb.ErrNotFound) || !errors.Is(err, sql.ErrNoRows) || !strings.Contains(err.Error(), "users") {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	}
	systemtest.Must(users.CreateMany(ctx, []user{{Name: "a", Email: "1"}, {Name: "b", Email: "2"}, {Name: "b", Email: "3"}}))
	if got := systemtest.Must(users.Filter(ctx, driftdb.Where{"name": "b"})); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	if n := systemtest.Must(users.Count(ctx, driftdb.Where{"name": "b"}, driftdb.Where{"email": driftdb.Gt("2")})); n != 1 {
		t.Errorf("counted %d", n)
	}
	var emails []string
	for _, u := range systemtest.Must(users.Find(ctx, driftdb.Query{OrderBy: []driftdb.Order{driftdb.Desc("name"), driftdb.Asc("email")}, Offset: 1})) {
		emails = append(emails, u.Email)
	}
	if !slices.Equal(emails, []string{"3", "1"}) {
		t.Errorf("got %v", emails)
	}
	for _, q := range []driftdb.Query{{Limit: -1}, {Offset: -1}, {OrderBy: []driftdb.Order{{}}}, {OrderBy: []driftdb.Order{driftdb.Asc("name; --")}}} {
		if _, err := users.Find(ctx, q); !errors.As(err, new(*driftdb.SchemaError)) {
			t.Errorf("%+v: got %v", q, err)
		}
	}
}

func TestUpdate(t *testing.T) {
	ctx := t.Context()
	users := systemtest.Define[user](t, newDB(t), "users")
	old := time.UnixMilli(1000).UTC()
	a := systemtest.Must(users.Create(ctx, user{Base: driftdb.Base{UpdatedAt: old, CreatedAt: old}, Name: "a", Email: "1"}))
	systemtest.Must(users.Create(ctx, user{Name: "b", Email: "2"}))
	if n := systemtest.Must(users.Update(ctx, driftdb.Where{"id": a.ID}, driftdb.Set{"name": "A", "age": 5, "tags": map[string]string{"x": "y"}})); n != 1 {
		t.Errorf("updated %d rows", n)
	}
	got := systemtest.Must(users.FindByID(ctx, a.ID))
	if got.Name != "A" || *got.Age != 5 || got.Tags["x"] != "y" || got.CreatedAt != old || !got.UpdatedAt.After(old) {
		t.Errorf("got %+v", got)
	}
	got = systemtest.Must(users.UpdateByID(ctx, a.ID, driftdb.Set{"age": nil}))
	if got.Age != nil || got.Name != "A" {
		t.Errorf("got %+v", got)
	}
	for column, v := range map[string]any{"id": "x", "createdAt": old, "nope": 1, "name": 5, "age": "5"} {
		_, err := users.Update(ctx, driftdb.All, driftdb.Set{column: v})
		if e, ok := errors.AsType[*driftdb.SchemaError](err); !ok || e.Column != column || e.Table != "users" {
			t.Errorf("%s: got %v", column, err)
		}
	}
	if ok := systemtest.Must(users.DeleteByID(ctx, a.ID)); !ok {
		t.Error("nothing was deleted")
	}
	if ok := systemtest.Must(users.DeleteByID(ctx, a.ID)); ok {
		t.Error("it was deleted twice")
	}
}

func TestUpsert(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	users := systemtest.Define[user](t, db, "users")
	made := systemtest.Must(users.Upsert(ctx, driftdb.Where{"email": "a"}, driftdb.Set{"name": "Alice"}))
	if made.Email != "a" || made.Name != "Alice" || made.Role != "member" || made.ID == "" {
		t.Errorf("created %+v", made)
	}
	again := systemtest.Must(users.Upsert(ctx, driftdb.Where{"email": "a"}, driftdb.Set{"name": "Alicia"}))
	if again.ID != made.ID || again.Name != "Alicia" || again.CreatedAt != made.CreatedAt {
		t.Errorf("updated %+v", again)
	}
	byID := systemtest.Must(users.Upsert(ctx, driftdb.Where{"id": "mine", "age": driftdb.Gt(5)}, driftdb.Set{"email": "b"}))
	if byID.ID != "mine" || byID.Age != nil {
		t.Errorf("created %+v", byID)
	}
	posts := systemtest.Must(db.Define(ctx, "posts", driftdb.Schema{driftdb.Text("title").Required(), driftdb.Integer("views").Default(3)}))
	post := systemtest.Must(posts.Upsert(ctx, driftdb.Where{"title": "x"}, driftdb.Set{}))
	if post["views"] != int64(3) || post["title"] != "x" {
		t.Errorf("created %v", post)
	}
	if n := systemtest.Must(users.Count(ctx)); n != 2 {
		t.Errorf("there are %d rows", n)
	}
	// The update fails as a whole, and so does the creation.
	if _, err := users.Upsert(ctx, driftdb.Where{"email": "b"}, driftdb.Set{"email": "a"}); !errors.As(err, new(*driftdb.ConstraintError)) {
		t.Errorf("got %v", err)
	}
	if _, err := users.Upsert(ctx, driftdb.Where{"email": "c"}, driftdb.Set{"id": "x"}); !errors.As(err, new(*driftdb.SchemaError)) {
		t.Errorf("got %v", err)
	}
}

func TestInTransaction(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	users := systemtest.Define[user](t, db, "users")
	undo := errors.New("undo")
	err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		in := users.In(tx)
		systemtest.Must(in.Create(ctx, user{Email: "a"}))
		systemtest.Must(in.CreateMany(ctx, []user{{Email: "b"}, {Email: "c"}}))
		if n := systemtest.Must(in.Count(ctx)); n != 3 {
			t.Errorf("the transaction sees %d rows", n)
		}
		if n := systemtest.Must(users.Count(ctx)); n != 0 {
			t.Errorf("others see %d rows", n)
		}
		if _, err := in.CreateMany(ctx, []user{{Email: "d"}, {Email: "a"}}); err == nil {
			t.Error("a duplicate was stored")
		}
		if n := systemtest.Must(in.Count(ctx)); n != 3 {
			t.Errorf("after a failed call it sees %d rows", n)
		}
		return undo
	})
	if !errors.Is(err, undo) {
		t.Errorf("got %v", err)
	}
	if n := systemtest.Must(users.Count(ctx)); n != 0 {
		t.Errorf("%d rows outlived the transaction", n)
	}
}

// In a read transaction a repository sees one state, and cannot write.
func TestInReadTransaction(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	users := systemtest.Define[user](t, db, "users")
	if err := db.ReadTx(ctx, func(tx *driftdb.Tx) error {
		in := users.In(tx)
		systemtest.Must(users.Create(ctx, user{Email: "a"}))
		if n := systemtest.Must(in.Count(ctx)); n != 0 {
			t.Errorf("the transaction sees %d rows", n)
		}
		for _, err := range []error{
			systemtest.ErrorOf(in.Create(ctx, user{Email: "b"})),
			systemtest.ErrorOf(in.CreateMany(ctx, []user{{Email: "b"}})),
			systemtest.ErrorOf(in.Update(ctx, driftdb.All, driftdb.Set{"name": "x"})),
			systemtest.ErrorOf(in.Upsert(ctx, driftdb.Where{"email": "b"}, driftdb.Set{})),
		} {
			if !errors.Is(err, driftdb.ErrReadOnly) {
				t.Errorf("got %v, want ErrReadOnly", err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestEach(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	users := systemtest.Define[user](t, db, "users")
	in := make([]user, 500)
	for i := range in {
		in[i] = user{Name: "x", Email: fmt.Sprintf("%03d", i)}
	}
	systemtest.Must(users.CreateMany(ctx, in))
	ordered := driftdb.Query{OrderBy: []driftdb.Order{driftdb.Asc("email")}}
	read := func(repo *driftdb.Repository[user]) (n int) {
		for u, err := range repo.Each(ctx, ordered) {
			if err != nil {
				t.Fatal(err)
			}
			if u.Email != in[n].Email {
				t.Fatalf("row %d is %q", n, u.Email)
			}
			// The same repository works inside the loop, to any depth.
			if n%100 == 0 {
				systemtest.Must(repo.Update(ctx, driftdb.Where{"id": u.ID}, driftdb.Set{"name": "seen"}))
				for inner := range repo.Each(ctx, ordered) {
					if inner.Email != in[0].Email {
						t.Fatalf("the inner loop begins at %q", inner.Email)
					}
					break
				}
			}
			n++
		}
		return n
	}
	if n := read(users); n != 500 {
		t.Errorf("read %d rows", n)
	}
	if err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		if n := read(users.In(tx)); n != 500 {
			t.Errorf("read %d rows in a transaction", n)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if n := systemtest.Must(users.Count(ctx, driftdb.Where{"name": "seen"})); n != 5 {
		t.Errorf("%d updates were stored", n)
	}
	for range 100 { // breaking off gives the connection back
		for range users.Each(ctx, ordered) {
			break
		}
	}
	yields := 0
	for _, err := range users.Each(ctx, driftdb.Query{Where: driftdb.Where{"nope": 1}}) {
		if yields++; !errors.As(err, new(*driftdb.SchemaError)) {
			t.Errorf("got %v", err)
		}
	}
	if yields != 1 {
		t.Errorf("%d yields for one error", yields)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range users.Each(ended, ordered) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

// Each holds one row at a time.
func TestEachIsConstantInMemory(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	users := systemtest.Define[user](t, db, "users")
	const rows, size = 40_000, 1000
	systemtest.Exec(t, db, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO users SELECT i, i, i, printf('%%%dd', i), i, NULL, '', '{}', 0 FROM n`, rows, size))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, n := heap(), 0
	for u, err := range users.Each(ctx, driftdb.Query{}) {
		if err != nil || len(u.Name) != size {
			t.Fatal(len(u.Name), err)
		}
		if n++; n%(rows/4) == 0 {
			if grown := heap() - before; grown > rows*size/10 {
				t.Fatalf("after %d rows the heap has grown by %d bytes", n, grown)
			}
		}
	}
	if n != rows {
		t.Errorf("read %d rows, want %d", n, rows)
	}
}

// Readers and writers share one repository.
func TestConcurrentUse(t *testing.T) {
	ctx := t.Context()
	users := systemtest.Define[user](t, newDB(t), "users")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				u, err := users.Create(ctx, user{Name: "n", Email: fmt.Sprintf("%d-%d", g, i)})
				if err != nil {
					t.Error(err)
					return
				}
				if found, err := users.FindByID(ctx, u.ID); err != nil || found.Email != u.Email {
					t.Errorf("got %v, %v", found.Email, err)
				}
				if _, err := users.Upsert(ctx, driftdb.Where{"email": "shared"}, driftdb.Set{"age": i}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := systemtest.Must(users.Count(ctx)); n != 201 {
		t.Errorf("there are %d rows, want 201", n)
	}
}

// TestBaseJSON: a row in JSON has the names of the columns, and comes back from it.
func TestBaseJSON(t *testing.T) {
	type note struct {
		driftdb.Base
		Text string `json:"text"`
	}
	made, err := systemtest.Define[note](t, newDB(t), "notes").Create(t.Context(), note{Text: "a"})
	systemtest.Check(t, err)
	b, err := json.Marshal(made)
	systemtest.Check(t, err)
	var fields map[string]any
	systemtest.Check(t, json.Unmarshal(b, &fields))
	if got := strings.Join(slices.Sorted(maps.Keys(fields)), " "); got != "createdAt id text updatedAt" {
		t.Errorf("fields %s in %s", got, b)
	}
	var again note
	systemtest.Check(t, json.Unmarshal(b, &again))
	if again != made {
		t.Errorf("%+v came back as %+v", made, again)
	}
}
