package undo

import (
	"strings"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// layout is the schema, as far as an undo needs it.
type layout struct {
	tables  map[string]bool     // in lower case
	virtual map[string]*virtual // in lower case
	shadows map[string]*virtual // by shadow table, in lower case
}

// virtual is a virtual table.
type virtual struct {
	name, module string
	content      string // the table that a full-text index is about, if it is not its own
	rebuild      bool   // its index is made anew
}

// read reads the schema that c sees.
func (l *layout) read(c *sqlite.Conn) error {
	*l = layout{tables: map[string]bool{}, virtual: map[string]*virtual{}, shadows: map[string]*virtual{}}
	if err := c.Each("SELECT name, sql FROM main.sqlite_schema WHERE type = 'table'", func(st *sqlite.Stmt) error {
		name := strings.ToLower(st.Text(0))
		l.tables[name] = true
		if sql := st.Text(1); len(sql) > 14 && strings.EqualFold(sql[:14], "CREATE VIRTUAL") {
			l.virtual[name] = virtualOf(st.Text(0), sql)
		}
		return nil
	}); err != nil {
		return err
	}
	if len(l.virtual) == 0 {
		return nil
	}
	return c.Each("SELECT lower(name) FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow'", func(st *sqlite.Stmt) error {
		name := st.Text(0)
		for at := len(name) - 1; at > 0; at-- { // the longest name counts
			if v := l.virtual[name[:at]]; v != nil && name[at] == '_' {
				l.shadows[name] = v
				break
			}
		}
		return nil
	})
}

// virtualOf reads a CREATE VIRTUAL TABLE.
func virtualOf(name, sql string) *virtual {
	v := &virtual{name: name}
	words := capture.Words(sql)
	for i := range words {
		switch {
		case v.module == "" && i > 0 && strings.EqualFold(words[i-1], "USING"):
			v.module = strings.ToLower(words[i])
		case strings.EqualFold(words[i], "content") && i+2 < len(words) && words[i+1] == "=":
			v.content = words[i+2]
		}
	}
	return v
}

func (l *layout) has(table string) bool { return l.tables[strings.ToLower(table)] }

// owner returns the virtual table that a table is a shadow of; "" if it is none.
func (l *layout) owner(table string) string {
	if v := l.shadows[strings.ToLower(table)]; v != nil {
		return v.name
	}
	return ""
}

// fullText reports whether v can make its index anew from its contents.
func (v *virtual) fullText() bool { return v.module == "fts5" }

// index reports whether a shadow table of v is a part of a full-text index, and not its
// contents or its settings.
func (v *virtual) index(table string) bool {
	switch strings.ToLower(table[len(v.name)+1:]) {
	case "data", "idx", "docsize":
		return v.fullText()
	}
	return false
}

// indexOf returns the full-text table of whose index a table is a part; nil if it is none.
func (l *layout) indexOf(table string) *virtual {
	if v := l.shadows[strings.ToLower(table)]; v != nil && v.index(table) {
		return v
	}
	return nil
}
