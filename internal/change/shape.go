package change

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Shape holds the names that the entries of a table's rows leave out. Log rows refer
// to shapes by their numbers in _driftdb_shape. An altered table gets a new shape, so
// an old log row is always read as it was written.
type Shape struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"` // in table order, without generated ones
	Key     []int    `json:"key"`     // indexes of the primary key's columns, in key order
	RowID   bool     `json:"rowid"`   // the table has a rowid that is not one of its columns
}

// Marshal returns the shape's stored form. Equal shapes have equal forms. Names that
// are not UTF-8 are an error.
func (s *Shape) Marshal() (string, error) {
	for _, n := range append([]string{s.Table}, s.Columns...) {
		if !utf8.ValidString(n) {
			return "", fmt.Errorf("table %q: the name %q is not UTF-8, which JSON cannot hold", s.Table, n)
		}
	}
	b, err := json.Marshal(s)
	return string(b), err
}

// ParseShape is the inverse of Marshal.
func ParseShape(def string) (*Shape, error) {
	s := new(Shape)
	if err := json.Unmarshal([]byte(def), s); err != nil {
		return nil, fmt.Errorf("shape %.100q: %w", def, err)
	}
	for _, k := range s.Key {
		if k < 0 || k >= len(s.Columns) {
			return nil, fmt.Errorf("shape %.100q: no column %d", def, k)
		}
	}
	return s, nil
}
