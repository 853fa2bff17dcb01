package digest

// schema brings the set forward over a statement that has changed the schema of main.
// A statement that it does not understand may have changed anything.
func (s Set) schema(sql string) {
	w := words{sql}
	understood := false
	switch w.keyword() {
	case "CREATE":
		understood = s.create(&w)
	case "DROP":
		understood = s.drop(&w)
	case "ALTER":
		understood = s.alter(&w)
	case "ANALYZE", "REINDEX":
		understood = true
	case "PRAGMA":
		name, _ := w.name()
		understood = fold(name) == "user_version" || fold(name) == "application_id"
	}
	if !understood {
		clear(s)
	}
}

func (s Set) create(w *words) (understood bool) {
	switch w.keyword() {
	case "UNIQUE", "INDEX", "VIEW", "TRIGGER":
		return true
	case "TABLE":
		name, ok := w.name()
		s.forget(name)
		if tok, _ := w.next(); tok == "(" && Digestible(name) { // not AS: that brings rows
			s[name] = Sum{}
		}
		return ok
	case "VIRTUAL":
		if w.keyword() == "TABLE" {
			return s.forgetVirtual(w.name())
		}
	}
	return false
}

func (s Set) drop(w *words) (understood bool) {
	switch w.keyword() {
	case "INDEX", "VIEW", "TRIGGER":
		return true
	case "TABLE":
		name, ok := w.name()
		if s.forget(name) {
			return true
		}
		return s.forgetVirtual(name, ok)
	}
	return false
}

func (s Set) alter(w *words) (understood bool) {
	if w.keyword() != "TABLE" {
		return false
	}
	name, ok := w.name()
	if !ok {
		return false
	}
	switch w.keyword() {
	case "RENAME":
		if w.keyword() == "TO" {
			return s.rename(name, w)
		}
	case "ADD":
		if !w.contains(changesRows) {
			return true // each row gains only a NULL, or a value that is not stored
		}
	}
	s.forget(name)
	return true
}

// changesRows reports whether a token of an added column gives the rows a value, or may
// shadow the last name of their rowid.
func changesRows(token string, quoted bool) bool {
	switch fold(token) {
	case "rowid", "oid", "_rowid_":
		return true
	case "default":
		return !quoted
	}
	return false
}

// rename gives a table its new name. An unknown table may be virtual.
func (s Set) rename(from string, w *words) (understood bool) {
	to, ok := w.name()
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
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// fold maps ASCII letters to lower case, and keeps every other byte.
func fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}
