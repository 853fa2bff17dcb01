package driftdb

import "time"

// Base holds the columns that every row has. Embed it in the structs that you give to
// [Define]:
//
//	type User struct {
//		driftdb.Base
//		Name  string
//		Email string `db:"email,unique"`
//	}
//
// Create fills in the fields that are zero. In JSON, they have their columns' names.
type Base struct {
	ID        string    `db:"id" json:"id"`               // UUIDv7, the primary key
	CreatedAt time.Time `db:"createdAt" json:"createdAt"` // UTC, to the millisecond
	UpdatedAt time.Time `db:"updatedAt" json:"updatedAt"` // UTC, to the millisecond; every update sets it
}

// Record is a row of a table defined by a [Schema], or of any query (see [Select]). Its
// values are int64, float64, string, []byte and nil, and bool in columns declared
// BOOLEAN; createdAt and updatedAt are int64, in Unix milliseconds.
//
// For writing, a value may be of any Go type that stands for one of these: all integer
// and float types that keep the value exactly, named types, pointers (nil is NULL),
// sql.Null and other driver.Valuers. Columns that are left out get their defaults.
type Record map[string]any
