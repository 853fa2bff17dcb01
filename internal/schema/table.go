package schema

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Type is the type of a column.
type Type int

// The types of columns. Time and JSON are only made from struct fields.
const (
	Text    Type = iota + 1 // TEXT
	Integer                 // INTEGER
	Real                    // REAL
	Boolean                 // BOOLEAN: 0 or 1
	Blob                    // BLOB
	Time                    // INTEGER: Unix milliseconds
	JSON                    // TEXT
)

var declared = [...]string{Text: "TEXT", Integer: "INTEGER", Real: "REAL", Boolean: "BOOLEAN", Blob: "BLOB", Time: "INTEGER", JSON: "TEXT"}

// SQL is the type's name in DDL.
func (t Type) SQL() string { return declared[t] }

// describe names the type in messages.
func (t Type) describe() string {
	switch t {
	case Boolean:
		return "a boolean column"
	case Time:
		return "a time column (time.Time, or Unix milliseconds)"
	case JSON:
		return "a JSON column"
	default:
		return "a column of type " + t.SQL()
	}
}

// Column describes a column.
type Column struct {
	Name     string
	Type     Type
	Required bool // NOT NULL
	Unique   bool
	Index    bool
	Default  any // of a type that fits the column; nil means none

	literal string // Default as SQL; "" means none
	quoted  string
}

// Names of the columns that every table has.
const (
	ID        = "id"
	CreatedAt = "createdAt"
	UpdatedAt = "updatedAt"
)

// Base returns the columns that every table has.
func Base() []Column {
	return []Column{
		{Name: ID, Type: Text, Required: true},
		{Name: CreatedAt, Type: Time, Required: true},
		{Name: UpdatedAt, Type: Time, Required: true},
	}
}

// Table is a checked list of columns, with the statements that depend on nothing else. It
// is immutable, except that Reconcile completes it.
type Table struct {
	Name    string
	Columns []Column

	quoted                   string
	byName                   map[string]int
	id, createdAt, updatedAt int

	// defaults marks the columns for which the database has a default.
	defaults []bool

	list       string // the quoted columns, with commas
	selectAll  string // SELECT list FROM table
	selectByID string
	insert     string // for all columns

	updates sync.Map // texts of UpdateByID
}

// New checks the name and the columns of a table. The columns must include those of Base.
func New(name string, columns []Column) (*Table, error) {
	t := &Table{
		Name:    name,
		Columns: slices.Clone(columns),
		byName:  make(map[string]int, len(columns)),
	}
	if err := checkTableName(name); err != nil {
		return nil, err
	}
	t.quoted = quote(name)
	folded := make(map[string]string, len(columns))
	for i := range t.Columns {
		c := &t.Columns[i]
		if reason := nameProblem(c.Name); reason != "" {
			return nil, t.fail(c.Name, reason)
		}
		if other, ok := folded[fold(c.Name)]; ok {
			return nil, t.fail(c.Name, fmt.Sprintf("it is there twice (as %q): SQLite ignores case in names", other))
		}
		folded[fold(c.Name)] = c.Name
		if err := t.prepare(c); err != nil {
			return nil, err
		}
		t.byName[c.Name] = i
	}
	for _, b := range Base() {
		i, ok := t.byName[b.Name]
		if !ok || t.Columns[i].Type != b.Type || !t.Columns[i].Required {
			return nil, t.fail(b.Name, "every table has this column: embed driftdb.Base")
		}
	}
	t.id, t.createdAt, t.updatedAt = t.byName[ID], t.byName[CreatedAt], t.byName[UpdatedAt]
	t.statements()
	return t, nil
}

// prepare derives what a column's statements need.
func (t *Table) prepare(c *Column) error {
	c.quoted = quote(c.Name)
	if c.Default == nil {
		return nil
	}
	if c.Name == ID || c.Name == CreatedAt || c.Name == UpdatedAt {
		return t.fail(c.Name, "it is filled in by DriftDB and takes no default")
	}
	v, err := c.Type.convert(c.Default)
	if err != nil {
		return t.fail(c.Name, "default: "+err.Error())
	}
	if c.literal, err = literal(v); err != nil {
		return t.fail(c.Name, "default: "+err.Error())
	}
	return nil
}

func (t *Table) statements() {
	names := make([]string, len(t.Columns))
	t.defaults = make([]bool, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.quoted
		t.defaults[i] = c.literal != ""
	}
	t.list = strings.Join(names, ", ")
	t.selectAll = "SELECT " + t.list + " FROM " + t.quoted
	t.selectByID = t.selectAll + ` WHERE "id" = ?`
	t.insert = "INSERT INTO " + t.quoted + " (" + t.list + ") VALUES (?" + strings.Repeat(", ?", len(names)-1) + ")"
}

// Key is the same for all names that SQLite treats as the table's name.
func (t *Table) Key() string { return fold(t.Name) }

// Agrees returns an error that says how two definitions of one table differ, or nil.
func (t *Table) Agrees(with *Table) error {
	const again = "the table is already defined in this program, "
	for _, c := range t.Columns {
		i, ok := with.byName[c.Name]
		if !ok {
			return t.fail(c.Name, again+"without this column")
		}
		o := with.Columns[i]
		if c.Type.SQL() != o.Type.SQL() || c.Required != o.Required || c.Unique != o.Unique ||
			c.Index != o.Index || c.literal != o.literal {
			return t.fail(c.Name, again+"with this column as "+o.definition())
		}
	}
	for _, o := range with.Columns {
		if _, ok := t.byName[o.Name]; !ok {
			return t.fail(o.Name, again+"with this column too")
		}
	}
	return nil
}

// column finds a column by its exact name.
func (t *Table) column(name string) (int, error) {
	if i, ok := t.byName[name]; ok {
		return i, nil
	}
	for _, c := range t.Columns {
		if fold(c.Name) == fold(name) {
			return 0, t.fail(name, fmt.Sprintf("no such column; %q is one", c.Name))
		}
	}
	return 0, t.fail(name, "no such column")
}

// OnlyColumnIn returns the column that an expression names, if it names exactly one. That
// is the column that an unnamed CHECK is about.
func (t *Table) OnlyColumnIn(expression string) string {
	only := ""
	words := strings.FieldsFunc(expression, func(r rune) bool {
		return r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for _, word := range words {
		for _, c := range t.Columns {
			if fold(c.Name) != fold(word) || c.Name == only {
				continue
			}
			if only != "" {
				return ""
			}
			only = c.Name
		}
	}
	return only
}

func (t *Table) fail(column, reason string) *Error {
	return &Error{Table: t.Name, Column: column, Reason: reason}
}

// checkTableName refuses names that SQLite or DriftDB reserve.
func checkTableName(name string) error {
	reason := nameProblem(name)
	for _, reserved := range []string{"_driftdb", "sqlite_"} {
		if strings.HasPrefix(fold(name), reserved) {
			reason = "names that begin with " + reserved + " are reserved: choose another"
		}
	}
	if reason == "" {
		return nil
	}
	return &Error{Table: name, Reason: reason}
}

func nameProblem(name string) string {
	switch {
	case name == "":
		return "the name is empty"
	case strings.ContainsRune(name, 0):
		return "the name has a NUL byte in it"
	}
	return ""
}

// quote quotes any name without NUL as an identifier.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// fold maps all names that SQLite treats as equal to one name. SQLite ignores the case of
// ASCII letters only.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
