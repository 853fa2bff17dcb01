// Package users is the table that the benchmarks work on, for repositories and in SQL.
package users

import (
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/google/uuid"
)

// User is a row.
type User struct {
	driftdb.Base
	Name  string
	Email string
	Age   int `db:",index"`
}

// New returns user i; ages are below the given one.
func New(i, ages int) User {
	return User{Name: "Alice", Email: fmt.Sprintf("user%d@example.com", i), Age: i % ages}
}

// The table as a repository defines it, and its statements.
const (
	Create = `CREATE TABLE users (id TEXT NOT NULL PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
			name TEXT NOT NULL, email TEXT NOT NULL, age INTEGER NOT NULL);
		CREATE INDEX users_age ON users (age)`
	columns = "id, createdAt, updatedAt, name, email, age"
	Insert  = `INSERT INTO users (` + columns + `) VALUES (?, ?, ?, ?, ?, ?)`
	Update  = `UPDATE users SET age = ?, updatedAt = ? WHERE id = ? RETURNING ` + columns
	ByID    = `SELECT ` + columns + ` FROM users WHERE id = ?`
	ByAges  = `SELECT ` + columns + ` FROM users WHERE age >= ? AND age < ?`
)

// Values returns the arguments of Insert, including the id and times that a repository
// generates by itself.
func Values(u User) (id string, args []any) {
	now := time.Now().UnixMilli()
	id = uuid.Must(uuid.NewV7()).String()
	return id, []any{id, now, now, u.Name, u.Email, u.Age}
}

// Scan reads a row.
func Scan(from interface{ Scan(...any) error }) (u User, err error) {
	var created, updated int64
	err = from.Scan(&u.ID, &created, &updated, &u.Name, &u.Email, &u.Age)
	u.CreatedAt, u.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	return u, err
}
