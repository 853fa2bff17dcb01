package undo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// definition is a statement that changed the schema, or the reason of a barrier.
type definition struct {
	at
	text  string
	words []string
}

// is reports whether the statement begins with a word.
func (d *definition) is(verb string) bool {
	return len(d.words) > 0 && strings.EqualFold(d.words[0], verb)
}

// names reports whether the statement has a name, or a word like it.
func (d *definition) names(name string) bool {
	return slices.ContainsFunc(d.words, func(w string) bool { return strings.EqualFold(w, name) })
}

// creates returns what a CREATE creates: its kind and its name.
func (d *definition) creates() (kind, name string) {
	words := d.words
	if len(words) == 0 || !strings.EqualFold(words[0], "CREATE") {
		return "", ""
	}
	for len(words) > 1 {
		words = words[1:]
		switch w := strings.ToUpper(words[0]); w {
		case "UNIQUE", "VIRTUAL":
		case "TABLE", "INDEX", "VIEW", "TRIGGER":
			kind = w
			words = words[1:]
			if len(words) > 3 && strings.EqualFold(words[0], "IF") && strings.EqualFold(words[1], "NOT") {
				words = words[3:]
			}
			if len(words) > 2 && words[1] == "." {
				words = words[2:]
			}
			if len(words) > 0 {
				return kind, words[0]
			}
		default:
			return "", ""
		}
	}
	return "", ""
}

// define takes in a change of the schema.
func (j *job) define(moment int, where at, sql string) {
	d := definition{at: where, text: sql, words: capture.Words(sql)}
	switch {
	case d.is("ANALYZE") || d.is("REINDEX"):
	case moment == made && j.concerns(&d):
		j.definitions = append(j.definitions, d)
	case moment == now && (d.is("ALTER") || d.is("DROP")):
		j.later = append(j.later, d)
	}
}

// concerns reports whether the undo is about what the statement defines. An undo of one
// table is about its rows and its own definition, and not about indexes or triggers of it.
func (j *job) concerns(d *definition) bool {
	if j.o.Table == "" {
		return true
	}
	if kind, name := d.creates(); kind != "" {
		return kind == "TABLE" && j.o.Key == nil && strings.EqualFold(name, j.o.Table)
	}
	return d.names(j.o.Table)
}

// refuse returns an error if the undo cannot know what it would do.
func (j *job) refuse() error {
	var what []string
	for _, d := range j.definitions {
		if kind, _ := d.creates(); kind == "" {
			what = append(what, fmt.Sprintf("change %d: %s", d.sequence, d.text))
		}
	}
	if what != nil {
		return fmt.Errorf("the transactions change the schema in a way that an undo cannot take back (%s): leave them out, or restore a point before them to another file", list(what))
	}
	for _, d := range j.barriers {
		what = append(what, fmt.Sprintf("change %d: %s", d.sequence, d.text))
	}
	if what != nil {
		return fmt.Errorf("the log does not say all that happened since (%s), so an undo cannot know which rows were changed: restore a point before that to another file, and copy the rows from there", list(what))
	}
	for _, d := range j.later {
		if name := j.touched(&d); name != "" && !(d.is("ALTER") && d.names("ADD") && !d.names("RENAME") && !d.names("DROP")) {
			what = append(what, fmt.Sprintf("change %d: %s", d.sequence, d.text))
		}
	}
	if what != nil {
		return fmt.Errorf("the schema of what is to be undone was changed later (%s): undo that first, or restore a point before it to another file", list(what))
	}
	for _, t := range j.net.tables {
		if t.some && !j.layout.has(t.name) {
			return fmt.Errorf("table %s is not there any more, so its rows cannot be undone", t.name)
		}
	}
	return nil
}

// touched returns something that the undo touches and the statement names; "" if there is
// nothing.
func (j *job) touched(d *definition) string {
	for _, t := range j.net.tables {
		if t.some && (d.names(t.name) || j.layout.owner(t.name) != "" && d.names(j.layout.owner(t.name))) {
			return t.name
		}
	}
	for i := range j.definitions {
		if _, name := j.definitions[i].creates(); d.names(name) {
			return name
		}
	}
	return ""
}

// maxListed bounds an error's text.
const maxListed = 10

// list joins what an error lists.
func list(what []string) string {
	for i := range what {
		if len(what[i]) > 300 {
			what[i] = strings.ToValidUTF8(what[i][:300], "") + " …"
		}
	}
	if more := len(what) - maxListed; more > 0 {
		what = append(what[:maxListed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(what, "; ")
}

// drop takes back what the range created, the newest first. A table must be empty by now.
func (j *job) drop(ctx context.Context) error {
	for _, d := range slices.Backward(j.definitions) {
		kind, name := d.creates()
		there := ""
		if err := j.c.About("SELECT name FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE", name, func(st *sqlite.Stmt) { there = st.Text(0) }); err != nil {
			return err
		}
		if there == "" { // it went with its table
			continue
		}
		if kind == "TABLE" {
			some := false
			if err := j.c.Each("SELECT 1 FROM main."+sqlite.Quote(there)+" LIMIT 1", func(*sqlite.Stmt) error { some = true; return nil }); err != nil {
				return err
			}
			if some {
				return fmt.Errorf("the transactions created table %s, which has other rows by now: leave change %d out", there, d.sequence)
			}
		}
		if err := j.run(ctx, "DROP "+kind+" main."+sqlite.Quote(there)); err != nil {
			return err
		}
	}
	return nil
}

// run runs a statement that is not about one row.
func (j *job) run(ctx context.Context, sql string) error {
	j.replay.Close() // its statements are of the old schema
	if _, err := j.c.ExecContext(ctx, sql, nil); err != nil {
		return err
	}
	return j.sql.add(func() (string, error) { return sql + ";", nil })
}
