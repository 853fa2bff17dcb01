package digest

import "github.com/driftdb/driftdb-go/internal/ddl"

// schema brings the set forward over a statement that has changed the schema of main.
// A statement that it does not understand may have changed anything.
func (s Set) schema(sql string) {
	w := ddl.Of(sql)
	understood := false
	switch w.Keyword() {
	case "CREATE":
		understood = s.create(w)
	case "DROP":
		understood = s.drop(w)
	case "ALTER":
		understood = s.alter(w)
	case "ANALYZE", "REINDEX":
		understood = true
	case "PRAGMA":
		name, _ := w.Name()
		understood = ddl.Fold(name) == "user_version" || ddl.Fold(name) == "application_id"
	}
	if !understood {
		clear(s)
	}
}

func (s Set) create(w *ddl.Words) (understood bool) {
	switch w.Keyword() {
	case "UNIQUE", "INDEX", "VIEW", "TRIGGER":
		return true
	case "TABLE":
		name, ok := w.Name()
		s.forget(name)
		if tok, _ := w.Next(); tok == "(" && Digestible(name) { // not AS: that brings rows
			s[name] = Sum{}
		}
		return ok
	case "VIRTUAL":
		if w.Keyword() == "TABLE" {
			return s.forgetVirtual(w.Name())
		}
	}
	return false
}

func (s Set) drop(w *ddl.Words) (understood bool) {
	switch w.Keyword() {
	case "INDEX", "VIEW", "TRIGGER":
		return true
	case "TABLE":
		name, ok := w.Name()
		if s.forget(name) {
			return true
		}
		return s.forgetVirtual(name, ok)
	}
	return false
}

func (s Set) alter(w *ddl.Words) (understood bool) {
	if w.Keyword() != "TABLE" {
		return false
	}
	name, ok := w.Name()
	if !ok {
		return false
	}
	switch w.Keyword() {
	case "RENAME":
		if w.Keyword() == "TO" {
			return s.rename(name, w)
		}
	case "ADD":
		if !w.Contains(changesRows) {
			return true // each row gains only a NULL, or a value that is not stored
		}
	}
	s.forget(name)
	return true
}

// changesRows reports whether a token of an added column gives the rows a value, or may
// shadow the last name of their rowid.
func changesRows(token string, quoted bool) bool {
	switch ddl.Fold(token) {
	case "rowid", "oid", "_rowid_":
		return true
	case "default":
		return !quoted
	}
	return false
}

// rename gives a table its new name. An unknown table may be virtual.
func (s Set) rename(from string, w *ddl.Words) (understood bool) {
	to, ok := w.Name()
	if !ok {
		return false
	}
	sum, known := s.find(from)
	if !known {
		s.forgetVirtual(from, true)
		return s.forgetVirtual(to, true)
	}
	s.forget(from)
	if Digestible(to) {
		s[to] = sum
	}
	return true
}

// find returns the digest of a table that a statement names. SQLite ignores the case
// of ASCII letters in names.
func (s Set) find(name string) (sum Sum, known bool) {
	if sum, known := s[name]; known {
		return sum, true
	}
	for table, sum := range s {
		if same(table, name) {
			return sum, true
		}
	}
	return Sum{}, false
}

// forget drops a table, and reports whether it was known.
func (s Set) forget(name string) (known bool) {
	for table := range s {
		if same(table, name) {
			delete(s, table)
			known = true
		}
	}
	return known
}

// forgetVirtual drops a table that may be virtual, with its possible shadow tables,
// whose first rows and deletion are not logged.
func (s Set) forgetVirtual(name string, ok bool) bool {
	s.forget(name)
	for table := range s {
		if n := len(name); len(table) > n && table[n] == '_' && same(table[:n], name) {
			delete(s, table)
		}
	}
	return ok
}

// same reports whether two names are equal except for the case of ASCII letters. It is
// called for every table whenever a table is created.
func same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && ddl.Lower(a[i]) != ddl.Lower(b[i]) {
			return false
		}
	}
	return true
}
