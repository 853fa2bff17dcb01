package capture

import "strings"

// class says how a statement has to be run.
type class int

const (
	plain  class = iota // rows, queries, transaction control: the hooks see to it
	schema              // may change the schema: run under the write lock, logged as text
	vacuum              // may renumber rowids, and cannot be part of a transaction
	attach              // may open main's file a second time
)

func classify(query string) class {
	w := words(query, 2)
	if writesRows(query) && strings.Contains(strings.ToLower(query), pagesTable) {
		return schema // the barrier is in its own commit, then
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
			return plain // it must not wait for main's lock
		}
	case "PRAGMA":
		if !changesFile(query) {
			return plain
		}
	}
	return schema // CREATE, ALTER, DROP, ANALYZE, REINDEX, and whatever SQLite learns next
}

// writesRows says whether a statement that is plain writes rows as a whole or not at
// all, so that a transaction around it changes nothing else.
func writesRows(query string) bool {
	switch words(query, 1)[0] {
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH":
		return true
	}
	return false
}

// written returns the name of the table that a statement writes rows of, in upper case;
// "" if it writes none, or what it writes is behind a WITH.
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

// ControlsTransaction says whether a statement begins, ends or divides a
// transaction.
func ControlsTransaction(query string) bool {
	switch words(query, 1)[0] {
	case "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE":
		return true
	}
	return false
}

// changesFile says whether a PRAGMA changes what a replay has to repeat.
func changesFile(query string) bool {
	switch name, argument := pragma(query); name {
	case "USER_VERSION", "APPLICATION_ID", "SCHEMA_VERSION":
		return argument
	case "OPTIMIZE", "INCREMENTAL_VACUUM": // the latter changes pages, but nothing that a replay repeats
		return true
	}
	return false
}

// pragma returns the name of the PRAGMA that query is, without its schema, and
// whether it has an argument.
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
// characters. Comments and leading semicolons are passed over. What is missing
// is "".
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

// skipSpace passes over spaces and comments, and semicolons if asked to.
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

// isCreateAs says whether a CREATE statement is CREATE TABLE … AS SELECT.
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

// statementText is the statement without what comes before it. What comes behind
// it stays: SQLite keeps some of that, such as a comment, in the text that it stores,
// and a replay has to give it the same.
func statementText(q string) string { return skipSpace(q, true) }

// usesOurModule says whether query makes a virtual table of our own module: it would
// take part in commits, and a restore would not know it.
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

// severalStatements says whether script may hold more than one statement.
func severalStatements(script string) bool {
	return strings.Contains(strings.TrimRight(script, "; \t\r\n\f"), ";")
}
