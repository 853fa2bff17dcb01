package digest

import "strings"

// words splits a statement into tokens: names and keywords, quoted names without their
// quotes, and single other characters. It skips comments and spaces.
type words struct{ rest string }

// next returns the next token, "" at the end, and whether it was in quotes.
func (w *words) next() (tok string, quoted bool) {
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

// keyword returns the next token in upper case, "" if it was in quotes.
func (w *words) keyword() string {
	tok, quoted := w.next()
	if quoted {
		return ""
	}
	return strings.ToUpper(tok)
}

// name reads [IF [NOT] EXISTS] [schema.] name. It returns false if something else
// comes.
func (w *words) name() (string, bool) {
	start := *w
	if w.keyword() != "IF" || !w.exists() {
		*w = start
	}
	name, quoted := w.next()
	qualified := *w
	if tok, _ := qualified.next(); tok == "." {
		name, quoted = qualified.next()
		*w = qualified
	}
	return name, quoted || name != "" && isWord(name[0])
}

func (w *words) exists() bool {
	k := w.keyword()
	if k == "NOT" {
		k = w.keyword()
	}
	return k == "EXISTS"
}

// contains reports whether any remaining token fits.
func (w *words) contains(fits func(token string, quoted bool) bool) bool {
	for w.skip(); w.rest != ""; w.skip() {
		if fits(w.next()) {
			return true
		}
	}
	return false
}

// skip skips spaces and comments.
func (w *words) skip() {
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
func (w *words) unquote(end byte) string {
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
