// Package ddl reads statements that define or alter a schema, as far as the readers of a log
// need to understand them.
package ddl

import "strings"

// Words splits a statement into tokens: names and keywords, quoted names without their
// quotes, and single other characters. It skips comments and spaces.
type Words struct{ rest string }

// Of returns the tokens of a statement.
func Of(sql string) *Words { return &Words{sql} }

// Next returns the next token, "" at the end, and whether it was in quotes.
func (w *Words) Next() (tok string, quoted bool) {
	w.skip()
	if w.rest == "" {
		return "", false
	}
	if i := strings.IndexByte("\"`'[", w.rest[0]); i >= 0 {
		return w.unquote("\"`']"[i]), true
	}
	n := 0
	for n < len(w.rest) && isWord(w.rest[n]) {
		n++
	}
	n = max(n, 1)
	tok, w.rest = w.rest[:n], w.rest[n:]
	return tok, false
}

// Keyword returns the next token in upper case, "" if it was in quotes.
func (w *Words) Keyword() string {
	tok, quoted := w.Next()
	if quoted {
		return ""
	}
	return strings.ToUpper(tok)
}

// Name reads [IF [NOT] EXISTS] [schema.] name. It returns false if something else
// comes.
func (w *Words) Name() (string, bool) {
	start := *w
	if w.Keyword() != "IF" || !w.exists() {
		*w = start
	}
	name, quoted := w.Next()
	qualified := *w
	if tok, _ := qualified.Next(); tok == "." {
		name, quoted = qualified.Next()
		*w = qualified
	}
	return name, quoted || name != "" && isWord(name[0])
}

func (w *Words) exists() bool {
	k := w.Keyword()
	if k == "NOT" {
		k = w.Keyword()
	}
	return k == "EXISTS"
}

// Contains reports whether any remaining token fits.
func (w *Words) Contains(fits func(token string, quoted bool) bool) bool {
	for w.skip(); w.rest != ""; w.skip() {
		if fits(w.Next()) {
			return true
		}
	}
	return false
}

// skip skips spaces and comments.
func (w *Words) skip() {
	for {
		w.rest = strings.TrimLeft(w.rest, " \t\r\n\f\ufeff")
		switch {
		case strings.HasPrefix(w.rest, "--"):
			_, w.rest, _ = strings.Cut(w.rest, "\n")
		case strings.HasPrefix(w.rest, "/*"):
			_, w.rest, _ = strings.Cut(w.rest[2:], "*/")
		default:
			return
		}
	}
}

// unquote reads a quoted token that ends with end. A doubled end is part of the token.
func (w *Words) unquote(end byte) string {
	var b strings.Builder
	for i := 1; i < len(w.rest); i++ {
		if w.rest[i] != end {
			b.WriteByte(w.rest[i])
			continue
		}
		if end == ']' || i+1 == len(w.rest) || w.rest[i+1] != end {
			w.rest = w.rest[i+1:]
			return b.String()
		}
		b.WriteByte(end)
		i++
	}
	w.rest = ""
	return b.String()
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c|32 && c|32 <= 'z'
}

// Fold maps the letters of ASCII to lower case and keeps every other byte: two names that
// are then equal are the same name to SQLite.
func Fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = Lower(c)
	}
	return string(b)
}

// Lower is Fold for one byte.
func Lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
