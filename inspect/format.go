package inspect

import (
	"encoding/hex"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// functions are what the templates call.
var functions = template.FuncMap{
	"pieces": pieces, "flat": flat, "size": size, "count": countAny, "when": func(t time.Time) *moment { return when(t, time.Now()) }, "plural": func(n any, one, many string) string { return plural(number64(n), one, many) },
}

// link is the address of a page of a backup, with parameters in pairs; empty ones are left
// out.
func (h *Handler) link(name, page string, parameters ...string) string {
	u := url.URL{Path: h.o.Path + "/b/" + name + "/" + page, RawQuery: encode(parameters...)}
	return u.String()
}

func (v *visit) link(page string, parameters ...string) string {
	return v.h.link(v.name, page, parameters...)
}

// piece is a part of a text: as it is, or the escape of a character that nobody would see,
// or that would move what is beside it. Mark is what differs from another text.
type piece struct {
	Text          string
	Escaped, Mark bool
}

// visible reports whether a character can be shown as it is.
func visible(r rune) bool { return strconv.IsPrint(r) }

// pieces takes a text apart. A page shows each text from a database in these: in HTML, a
// control character is invisible at best, and one that changes the direction of writing
// moves everything after it.
func pieces(s string) (out []piece) { return appendPieces(nil, s, false) }

// flat is a text in which nothing is hidden, where there can be no markup.
func flat(s string) string {
	var b strings.Builder
	for _, p := range pieces(s) {
		b.WriteString(p.Text)
	}
	return b.String()
}

func appendPieces(out []piece, s string, mark bool) []piece {
	done := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !visible(r) || r == utf8.RuneError && n == 1 {
			if i > done {
				out = append(out, piece{s[done:i], false, mark})
			}
			text := strings.Trim(strconv.QuoteRune(r), "'")
			if n == 1 && r == utf8.RuneError {
				text = fmt.Sprintf(`\x%02x`, s[i])
			}
			if last := len(out) - 1; last >= 0 && out[last].Escaped && out[last].Mark == mark && i == done {
				out[last].Text += text
			} else {
				out = append(out, piece{text, true, mark})
			}
			done = i + n
		}
		i += n
	}
	if done < len(s) {
		out = append(out, piece{s[done:], false, mark})
	}
	return out
}

// quoted is a text in quotes on one line.
func quoted(s string) string { return strconv.Quote(s) }

// value is a value of a row, ready to be shown.
type value struct {
	Kind   string // null, int, real, text or blob
	Pieces []piece
	More   string // how much of it is not shown
	Link   string // to all of it
}

// show shows the first limit characters, or bytes, of a value.
func show(v any, limit int) value {
	kind, text, whole := plain(v, limit)
	out := value{Kind: kind, Pieces: pieces(text)}
	if whole > 0 {
		out.More = size(int64(whole))
	}
	return out
}

// plain is a value as text. whole is its size in bytes if the text is not all of it.
func plain(v any, limit int) (kind, text string, whole int) {
	switch v := v.(type) {
	case nil:
		return "null", "NULL", 0
	case string:
		if cut := shorten(v, limit); len(cut) < len(v) {
			return "text", cut, len(v)
		}
		return "text", v, 0
	case []byte:
		if len(v) > limit/2 {
			return "blob", "x'" + hex.EncodeToString(v[:limit/2]), len(v)
		}
		return "blob", "x'" + hex.EncodeToString(v) + "'", 0
	case int64:
		return "int", strconv.FormatInt(v, 10), 0
	case float64:
		return "real", real(v), 0
	case time.Time:
		return "text", v.Format(time.RFC3339Nano), 0
	}
	return "text", fmt.Sprint(v), 0
}

// shorten cuts a text before a character.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// real formats a float so that it cannot be mistaken for an integer.
func real(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") && !math.IsInf(v, 0) && !math.IsNaN(v) {
		s += ".0"
	}
	return s
}

// differing shows two values, and marks what differs if both are texts. What they have in
// common is shortened to what is near the difference.
func differing(before, after any, limit int) (value, value) {
	x, ok := before.(string)
	y, ok2 := after.(string)
	if !ok || !ok2 {
		return show(before, limit), show(after, limit)
	}
	first := common(x, y)
	last := commonEnd(x[first:], y[first:])
	if first+last == 0 { // all of it differs
		return show(before, limit), show(after, limit)
	}
	mark := func(s string) value {
		const context = 30
		out := value{Kind: "text"}
		head, middle, tail := s[:first], s[first:len(s)-last], s[len(s)-last:]
		if len(head) > context {
			from := len(head) - context
			for from < len(head) && !utf8.RuneStart(head[from]) {
				from++
			}
			out.Pieces = append(out.Pieces, piece{Text: "…", Escaped: true})
			head = head[from:]
		}
		shown := shorten(middle, limit)
		out.Pieces = appendPieces(out.Pieces, head, false)
		out.Pieces = appendPieces(out.Pieces, shown, true)
		if len(shown) < len(middle) {
			out.More = size(int64(len(s)))
			return out
		}
		short := shorten(tail, context)
		out.Pieces = appendPieces(out.Pieces, short, false)
		if len(short) < len(tail) {
			out.More = size(int64(len(s)))
		}
		return out
	}
	return mark(x), mark(y)
}

// common is how many bytes two texts begin with alike, up to a character.
func common(x, y string) int {
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	for n > 0 && (n < len(x) && !utf8.RuneStart(x[n]) || n < len(y) && !utf8.RuneStart(y[n])) {
		n--
	}
	return n
}

// commonEnd is how many bytes two texts end with alike, from a character on.
func commonEnd(x, y string) int {
	n := 0
	for n < len(x) && n < len(y) && x[len(x)-1-n] == y[len(y)-1-n] {
		n++
	}
	for n > 0 && !utf8.RuneStart(x[len(x)-n]) {
		n--
	}
	return n
}

// size formats a number of bytes.
func size(n int64) string {
	const units = "KMGTP"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < len(units)-1 {
		f, unit = f/1024, unit+1
	}
	if f < 10 {
		return fmt.Sprintf("%.1f %ciB", f, units[unit])
	}
	return fmt.Sprintf("%.0f %ciB", f, units[unit])
}

// count formats a number with a thin space between thousands.
func count[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// countAny is count for templates, which know no type parameters.
func countAny(n any) string { return count(number64(n)) }

func number64(n any) int64 {
	if n, ok := n.(int); ok {
		return int64(n)
	}
	whole, _ := n.(int64)
	return whole
}

// plural is a number with its noun.
func plural[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// moment is a time for people: when it was, and how long ago.
type moment struct {
	ISO   string // for machines
	Text  string // in UTC
	Exact string // to the millisecond
	Age   string
}

// when returns nil for a time that is not known.
func when(t, now time.Time) *moment {
	if t.IsZero() || t.Unix() == 0 {
		return nil
	}
	return &moment{t.UTC().Format(time.RFC3339Nano), t.UTC().Format("2006-01-02 15:04:05"), t.UTC().Format("2006-01-02 15:04:05.000"), age(now.Sub(t))}
}

// age says how long ago something was.
func age(d time.Duration) string {
	switch {
	case d < -time.Minute:
		return "in the future"
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}

// encode is a query of parameters in pairs; empty ones are left out.
func encode(parameters ...string) string {
	query := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		if parameters[i+1] != "" {
			query.Set(parameters[i], parameters[i+1])
		}
	}
	return query.Encode()
}
