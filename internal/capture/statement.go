package capture

import "strings"

// class is how a statement must be run.
type class int

const (
	plain  class = iota // rows, queries, transaction control: the hooks capture it
	schema              // may change the schema: run under the write lock, logged as text
	vacuum              // may renumber rowids and cannot be part of a transaction
	attach              // may open main's file a second time
)

func classify(query string) class {
	w := words(query, 2)
	if writesRows(query) && strings.Contains(strings.ToLower(query), pagesTable) {
		return schema // so that its barrier is in the same commit
	}
	switch w[0] {
	case "", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "SELECT", "VALUES", "EXPLAIN",
		"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "DETACH":
		return plain
	case "ATTACH":
		return attach
	case "VACUUM":
		return vacuum
	case "CREATE":
		if w[1] == "TEMP" || w[1] == "TEMPORARY" {
			return plain // must not wait for main's lock
		}
	case "PRAGMA":
		if !changesFile(query) {
			return plain
		}
	}
	return schema // CREATE, ALTER, DROP, ANALYZE, REINDEX, and whatever SQLite learns next
}

// writesRows reports whether a plain statement writes either all its rows or none, so that
// a transaction around it makes no other difference.
func writesRows(query string) bool {
	switch words(query, 1)[0] {
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH":
		return true
	}
	return false
}

// written returns the name of the table whose rows a statement writes, in upper case, or
// "" if it writes none or starts with WITH.
func written(query string) string {
	w := words(query, 9)
	skip := func(word string) bool {
		if w[0] != word {
			return false
		}
		w = w[1:]
		return true
	}
	switch {
	case skip("INSERT"), skip("UPDATE"):
		if skip("OR") {
			w = w[1:]
		}
		skip("INTO")
	case skip("REPLACE"):
		skip("INTO")
	case skip("DELETE"):
		skip("FROM")
	default:
		return ""
	}
	if w[1] == "." {
		w = w[2:]
	}
	return w[0]
}

// ControlsTransaction reports whether a statement begins, ends or divides a
// transaction.
func ControlsTransaction(query string) bool {
	switch words(query, 1)[0] {
	case "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE":
		return true
	}
	return false
}

// changesFile reports whether a PRAGMA must run as a schema statement because it changes
// the file.
func changesFile(query string) bool {
	switch name, argument := pragma(query); name {
	case "USER_VERSION", "APPLICATION_ID", "SCHEMA_VERSION":
		return argument
	case "OPTIMIZE", "INCREMENTAL_VACUUM": // the latter changes pages, but a replay need not repeat it
		return true
	}
	return false
}

// pragma returns the name of the PRAGMA in query, without its schema, and whether
// it has an argument. The name is "" if query is no PRAGMA.
func pragma(query string) (name string, argument bool) {
	w := words(query, 5)
	if w[0] != "PRAGMA" {
		return "", false
	}
	w = w[1:]
	if w[1] == "." {
		w = w[2:]
	}
	return w[0], w[1] == "=" || w[1] == "("
}

// words returns the first n tokens of query in upper case: runs of letters,
// digits and underscores, quoted names without their quotes, and single other
// characters. It skips comments and leading semicolons. Missing tokens are "".
func words(query string, n int) []string {
	out := make([]string, n)
	for i := range out {
		var tok string
		if tok, query = token(query, i == 0); tok == "" {
			break
		}
		out[i] = strings.ToUpper(tok)
	}
	return out
}

// Words returns the tokens of a statement: runs of letters, digits and underscores, quoted
// names without their quotes, and single other characters. It skips comments.
func Words(statement string) (out []string) {
	for first := true; ; first = false {
		tok, rest := token(statement, first)
		if tok == "" && rest == "" {
			return out
		}
		out, statement = append(out, tok), rest
	}
}

func token(q string, first bool) (tok, rest string) {
	q = skipSpace(q, first)
	if q == "" {
		return "", ""
	}
	if end := strings.IndexByte("\"`'[", q[0]); end >= 0 {
		return quoted(q, "\"`']"[end])
	}
	i := 0
	for i < len(q) && isWord(q[i]) {
		i++
	}
	i = max(i, 1)
	return q[:i], q[i:]
}

func quoted(q string, end byte) (tok, rest string) {
	var b strings.Builder
	for i := 1; i < len(q); i++ {
		if q[i] != end {
			b.WriteByte(q[i])
			continue
		}
		if end == ']' || i+1 == len(q) || q[i+1] != end {
			return b.String(), q[i+1:]
		}
		b.WriteByte(end)
		i++
	}
	return b.String(), ""
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c|32 && c|32 <= 'z'
}

// skipSpace skips spaces and comments, and also semicolons if told so.
func skipSpace(q string, semicolons bool) string {
	for q != "" {
		switch {
		case strings.IndexByte(" \t\r\n\f", q[0]) >= 0, q[0] == ';' && semicolons, strings.HasPrefix(q, "\ufeff"):
			if q[0] == 0xef {
				q = q[2:]
			}
			q = q[1:]
		case strings.HasPrefix(q, "--"):
			_, q, _ = strings.Cut(q, "\n")
		case strings.HasPrefix(q, "/*"):
			_, q, _ = strings.Cut(q[2:], "*/")
		default:
			return q
		}
	}
	return q
}

// isCreateAs reports whether a statement is CREATE TABLE … AS SELECT.
func isCreateAs(query string) bool {
	w := words(query, 10)
	if w[0] != "CREATE" || w[1] != "TABLE" {
		return false
	}
	w = w[2:]
	if w[0] == "IF" && w[1] == "NOT" && w[2] == "EXISTS" {
		w = w[3:]
	}
	if w[1] == "." {
		w = w[2:]
	}
	return w[1] == "AS"
}

// statementText returns the statement without leading spaces and comments. Trailing ones
// stay: SQLite keeps some of them in the text it stores, and a replay must give it the
// same text.
func statementText(q string) string { return skipSpace(q, true) }

// usesOurModule reports whether query makes a virtual table of one of our own modules. Such
// a table would take part in commits, and a restore would not know the module.
func usesOurModule(query string) bool {
	w := words(query, 12)
	if w[0] != "CREATE" || w[1] != "VIRTUAL" || w[2] != "TABLE" {
		return false
	}
	w = w[3:]
	if w[0] == "IF" && w[1] == "NOT" && w[2] == "EXISTS" {
		w = w[3:]
	}
	if w[1] == "." {
		w = w[2:]
	}
	return w[1] == "USING" && strings.HasPrefix(w[2], "DRIFTDB_")
}

// severalStatements reports whether script may hold more than one statement.
func severalStatements(script string) bool {
	return strings.Contains(strings.TrimRight(script, "; \t\r\n\f"), ";")
}
