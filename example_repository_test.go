package driftdb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/driftdb/driftdb-go"
)

// memory opens a database for an example.
func memory() *driftdb.DB {
	db, err := driftdb.Open(context.Background(), driftdb.Config{Name: "example", Path: ":memory:"})
	if err != nil {
		log.Fatal(err)
	}
	return db
}

// A table from a list of columns, and the methods on it.
func ExampleDB_Define() {
	ctx := context.Background()
	db := memory()
	defer db.Close()

	users, err := db.Define(ctx, "users", driftdb.Schema{
		driftdb.Text("name").Required(),
		driftdb.Text("email").Unique().Required(),
		driftdb.Integer("age"),
	})
	if err != nil {
		log.Fatal(err)
	}
	alice, err := users.Create(ctx, driftdb.Record{"name": "Alice", "email": "alice@example.com", "age": 30})
	if err != nil {
		log.Fatal(err)
	}
	adults, err := users.Find(ctx, driftdb.Query{
		Where:   driftdb.Where{"age": driftdb.Gte(18)},
		OrderBy: []driftdb.Order{driftdb.Asc("name")},
		Limit:   10,
	})
	if err != nil {
		log.Fatal(err)
	}
	updated, err := users.Update(ctx, driftdb.Where{"id": alice["id"]}, driftdb.Set{"name": "Alice Smith"})
	if err != nil {
		log.Fatal(err)
	}
	deleted, err := users.Delete(ctx, driftdb.Where{"id": alice["id"]})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(adults), adults[0]["name"], adults[0]["age"], updated, deleted)
	// Output: 1 Alice 30 1 1
}

// A table from a struct.
func ExampleDefine() {
	type User struct {
		driftdb.Base
		Name  string
		Email string `db:"email,unique"`
	}
	ctx := context.Background()
	db := memory()
	defer db.Close()

	users, err := driftdb.Define[User](ctx, db, "users")
	if err != nil {
		log.Fatal(err)
	}
	alice, err := users.Create(ctx, User{Name: "Alice", Email: "alice@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	found, err := users.Filter(ctx, driftdb.Where{"name": "Alice"})
	if err != nil {
		log.Fatal(err)
	}
	alice, err = users.UpdateByID(ctx, alice.ID, driftdb.Set{"name": "Alice Smith"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(found), alice.Name, alice.Email)
	// Output: 1 Alice Smith alice@example.com
}

// Every method of a repository.
func ExampleRepository() {
	type Post struct {
		driftdb.Base
		Title     string
		Content   *string
		Published bool
		Views     int
	}
	ctx := context.Background()
	db := memory()
	defer db.Close()
	posts, err := driftdb.Define[Post](ctx, db, "posts")
	if err != nil {
		log.Fatal(err)
	}

	post, err := posts.Create(ctx, Post{Title: "Hello"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err = posts.FindByID(ctx, post.ID); err != nil {
		log.Fatal(err)
	}
	_, err = posts.FindOne(ctx, driftdb.Where{"title": "Goodbye"})
	fmt.Println(errors.Is(err, driftdb.ErrNotFound))

	changed, err := posts.Update(ctx, driftdb.Where{"id": post.ID}, driftdb.Set{"views": 100, "published": true})
	if err != nil {
		log.Fatal(err)
	}
	published, err := posts.Find(ctx, driftdb.Query{
		Where:   driftdb.Where{"published": true},
		OrderBy: []driftdb.Order{driftdb.Desc("views")},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(changed, published[0].Title, published[0].Views)

	post, err = posts.Upsert(ctx, driftdb.Where{"title": "Hello"}, driftdb.Set{"views": 0})
	if err != nil {
		log.Fatal(err)
	}
	total, err := posts.Count(ctx)
	if err != nil {
		log.Fatal(err)
	}
	popular, err := posts.Count(ctx, driftdb.Where{"views": driftdb.Gt(10)})
	if err != nil {
		log.Fatal(err)
	}
	deleted, err := posts.DeleteByID(ctx, post.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(total, popular, deleted)
	// Output:
	// true
	// 1 Hello 100
	// 1 0 true
}

// The builder's modifiers.
func ExampleColumn() {
	ctx := context.Background()
	db := memory()
	defer db.Close()
	games, err := db.Define(ctx, "games", driftdb.Schema{
		driftdb.Text("name").Required(),
		driftdb.Text("email").Unique().Required(),
		driftdb.Real("score").Default(0),
		driftdb.Boolean("active").Default(true),
		driftdb.Blob("data"),
		driftdb.Integer("createdBy").Index(),
	})
	if err != nil {
		log.Fatal(err)
	}
	game, err := games.Create(ctx, driftdb.Record{"name": "Go", "email": "go@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(game["name"], game["score"], game["active"], game["data"], game["createdBy"])
	// Output: Go 0 true <nil> <nil>
}

// Every operator, in both spellings and from JSON.
func ExampleWhere() {
	type User struct {
		driftdb.Base
		Name, Role, Status string
		Age                int
		Active             bool
		DeletedAt          *int64
	}
	ctx := context.Background()
	db := memory()
	defer db.Close()
	users, err := driftdb.Define[User](ctx, db, "users")
	if err != nil {
		log.Fatal(err)
	}
	gone := int64(1704067200000)
	_, err = users.CreateMany(ctx, []User{
		{Name: "Alice", Role: "admin", Status: "ok", Age: 30, Active: true},
		{Name: "Alina", Role: "member", Status: "ok", Age: 17},
		{Name: "Bob", Role: "moderator", Status: "deleted", Age: 70, Active: true, DeletedAt: &gone},
	})
	if err != nil {
		log.Fatal(err)
	}
	var fromJSON driftdb.Where
	if err := json.Unmarshal([]byte(`{"age": {"$gte": 18, "$lt": 65}}`), &fromJSON); err != nil {
		log.Fatal(err)
	}
	for _, w := range []driftdb.Where{
		{"name": "Alice"},
		{"age": driftdb.Gt(18)},
		{"age": driftdb.Ops{"$gte": 18}},
		{"age": driftdb.Lt(65)},
		{"age": driftdb.Ops{"$lte": 65}},
		{"status": driftdb.Ne("deleted")},
		{"role": driftdb.In("admin", "moderator")},
		{"role": driftdb.Ops{"$in": []string{"admin", "moderator"}}},
		{"name": driftdb.Like("Ali%")},
		{"deletedAt": nil},
		{"deletedAt": driftdb.NotNull()},
		{"age": driftdb.And(driftdb.Gte(18), driftdb.Lt(65))},
		{"age": driftdb.Ops{"$gte": 18}, "active": true},
		{"role": driftdb.NotIn("admin", "member")},
		{"age": driftdb.Between(17, 30)},
		{"deletedAt": driftdb.Ops{"$exists": true}},
		driftdb.Or(driftdb.Where{"name": "Bob"}, driftdb.Where{"age": driftdb.Lt(18)}),
		driftdb.Not(driftdb.Where{"deletedAt": driftdb.Gt(0)}), // also where it is NULL
		{"active": true, "$or": []driftdb.Where{{"role": "admin"}, {"role": "member"}}},
		fromJSON,
	} {
		found, err := users.Find(ctx, driftdb.Query{Where: w, OrderBy: []driftdb.Order{driftdb.Asc("name")}})
		if err != nil {
			log.Fatal(err)
		}
		names := []string{}
		for _, u := range found {
			names = append(names, u.Name)
		}
		fmt.Println(names)
	}
	// Output:
	// [Alice]
	// [Alice Bob]
	// [Alice Bob]
	// [Alice Alina]
	// [Alice Alina]
	// [Alice Alina]
	// [Alice Bob]
	// [Alice Bob]
	// [Alice Alina]
	// [Alice Alina]
	// [Bob]
	// [Alice]
	// [Alice Bob]
	// [Bob]
	// [Alice Alina]
	// [Bob]
	// [Alina Bob]
	// [Alice Alina]
	// [Alice]
	// [Alice]
}

// Relations are queries of your own: here a join, read into a struct.
func ExampleSelect() {
	type User struct {
		driftdb.Base
		Name, Email string
	}
	type Team struct {
		driftdb.Base
		Name string
	}
	type Member struct {
		driftdb.Base
		TeamID string `db:"teamId,index"`
		UserID string
		Role   string `db:",omitzero,default=member"`
	}
	ctx := context.Background()
	db := memory()
	defer db.Close()
	users, err1 := driftdb.Define[User](ctx, db, "users")
	teams, err2 := driftdb.Define[Team](ctx, db, "teams")
	members, err3 := driftdb.Define[Member](ctx, db, "members")
	if err := errors.Join(err1, err2, err3); err != nil {
		log.Fatal(err)
	}

	var team Team
	err := db.Tx(ctx, func(tx *driftdb.Tx) (err error) {
		if team, err = teams.In(tx).Create(ctx, Team{Name: "Engineering"}); err != nil {
			return err
		}
		for name, role := range map[string]string{"Alice": "lead", "Bob": ""} {
			user, err := users.In(tx).Create(ctx, User{Name: name})
			if err != nil {
				return err
			}
			if _, err := members.In(tx).Create(ctx, Member{TeamID: team.ID, UserID: user.ID, Role: role}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	type teamMember struct{ Name, Role string }
	list, err := driftdb.Select[teamMember](ctx, db, `
		SELECT u.name, m.role
		FROM members m
		JOIN users u ON u.id = m.userId
		WHERE m.teamId = ?
		ORDER BY u.name`, team.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(list)

	counts, err := driftdb.Select[driftdb.Record](ctx, db, "SELECT role, count(*) AS n FROM members GROUP BY role HAVING n > ?", 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(counts)
	// Output:
	// [{Alice lead} {Bob member}]
	// [map[n:1 role:lead] map[n:1 role:member]]
}

// Many rows at once: CreateMany is one transaction, and the fastest way.
func ExampleRepository_CreateMany() {
	type Item struct {
		driftdb.Base
		Number int
	}
	ctx := context.Background()
	db := memory()
	defer db.Close()
	items, err := driftdb.Define[Item](ctx, db, "items")
	if err != nil {
		log.Fatal(err)
	}
	batch := make([]Item, 1000)
	for i := range batch {
		batch[i].Number = i
	}
	if _, err := items.CreateMany(ctx, batch); err != nil {
		log.Fatal(err)
	}
	sum := 0
	for item, err := range items.Each(ctx, driftdb.Query{Where: driftdb.Where{"number": driftdb.Lt(10)}}) {
		if err != nil {
			log.Fatal(err)
		}
		sum += item.Number
	}
	fmt.Println(sum)
	// Output: 45
}
