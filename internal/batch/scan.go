package batch

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go/internal/change"
)

// scanner reads the JSON of one line. encoding/json would lose what matters here:
// the order of columns, the difference between 5 and 5.0, and the canonical
// spelling. scanner is also several times faster, so that a replay spends its time
// in SQLite and not here.
//
// The first mismatch is kept in want. Everything after it yields zero values, so
// that callers can check once, at the end.
type scanner struct {
	line []byte
	i    int
	want string // what was expected at line[i]; empty while all is well

	scratch []byte            // decoded strings of this line
	names   map[string]string // of tables and columns, so that each is made once
}

// maxNames bounds the names kept for reuse.
const maxNames = 4096

func (s *scanner) reset(line []byte, at int) {
	s.line, s.i, s.want = line, at, ""
	s.scratch = s.scratch[:0]
}

func (s *scanner) ok() bool { return s.want == "" }

func (s *scanner) fail(want string) {
	if s.ok() {
		s.want = want
	}
}

// try takes lit if it comes next.
func (s *scanner) try(lit string) bool {
	if s.ok() && len(s.line)-s.i >= len(lit) && string(s.line[s.i:s.i+len(lit)]) == lit {
		s.i += len(lit)
		return true
	}
	return false
}

// lit takes lit, which must come next.
func (s *scanner) lit(lit string) {
	if !s.try(lit) {
		s.fail(lit)
	}
}

// end requires the line to end here.
func (s *scanner) end() {
	if s.i != len(s.line) {
		s.fail("the end of the line")
	}
}

func (s *scanner) boolean() bool {
	if s.try("true") {
		return true
	}
	s.lit("false")
	return false
}

// integer takes a plain integer within ±2^53.
func (s *scanner) integer() int64 {
	if !s.ok() {
		return 0
	}
	i := s.i
	negative := i < len(s.line) && s.line[i] == '-'
	if negative {
		i++
	}
	first := i
	var v int64
	for i < len(s.line) && s.line[i]-'0' <= 9 && v <= maxExact {
		v = 10*v + int64(s.line[i]-'0')
		i++
	}
	zero := i > first && s.line[first] == '0' // "0" itself is the only spelling with it
	if i == first || v > maxExact || zero && (negative || i > first+1) {
		s.fail("an integer within ±2^53")
		return 0
	}
	s.i = i
	if negative {
		return -v
	}
	return v
}

// anyInteger takes an integer, tagged or not.
func (s *scanner) anyInteger() int64 {
	start := s.i
	if !s.try(`{"$int":"`) {
		return s.integer()
	}
	v, err := strconv.ParseInt(string(s.untilQuote()), 10, 64)
	s.lit(`"}`)
	var buf [48]byte
	if err != nil || !s.spelled(start, appendInteger(buf[:0], v)) {
		s.fail("an integer beyond ±2^53")
	}
	return v
}

// real takes a number with a point or an exponent. The tagged reals are taken
// by tagged.
func (s *scanner) real() float64 {
	start := s.i
	for s.i < len(s.line) && isNumber[s.line[s.i]] {
		s.i++
	}
	v, err := strconv.ParseFloat(string(s.line[start:s.i]), 64)
	var buf [48]byte
	if err != nil || !s.spelled(start, appendReal(buf[:0], v)) {
		s.i = start
		s.fail("a real in its shortest form")
	}
	return v
}

var isNumber = byteSet("+-.0123456789e")

func byteSet(chars string) (t [256]bool) {
	for _, c := range []byte(chars) {
		t[c] = true
	}
	return t
}

// spelled reports whether what was taken since start is the canonical spelling.
func (s *scanner) spelled(start int, spelling []byte) bool {
	return s.ok() && bytes.Equal(s.line[start:s.i], spelling)
}

// untilQuote takes the bytes before the next quote.
func (s *scanner) untilQuote() []byte {
	n := bytes.IndexByte(s.line[s.i:], '"')
	if n < 0 || !s.ok() {
		s.fail("a closing quote")
		return nil
	}
	s.i += n
	return s.line[s.i-n : s.i : s.i]
}

// str takes a string. What it returns is part of the line or of scratch.
func (s *scanner) str() []byte {
	s.lit(`"`)
	if !s.ok() {
		return nil
	}
	line, start, i := s.line, s.i, s.i
	var bits byte // of all bytes together: is any not ASCII?
	for i < len(line) && plain[line[i]] {
		bits |= line[i]
		i++
	}
	text := line[start:i:i]
	if i < len(line) && line[i] == '\\' {
		text, i = s.unescape(text, i)
		bits = utf8.RuneSelf
	}
	if i >= len(line) || line[i] != '"' || bits >= utf8.RuneSelf && !utf8.Valid(text) {
		s.i = i
		s.fail("a string of UTF-8")
		return nil
	}
	s.i = i + 1
	return text
}

// unescape continues a string at its first backslash, at i, and returns it
// with the position where it ends.
func (s *scanner) unescape(head []byte, i int) ([]byte, int) {
	start := len(s.scratch)
	s.scratch = append(s.scratch, head...)
	for i < len(s.line) && s.line[i] == '\\' {
		c, n := escaped(s.line[i:])
		if n == 0 {
			break // at the backslash, where str wants a quote
		}
		s.scratch = append(s.scratch, c)
		i += n
		run := i
		for i < len(s.line) && plain[s.line[i]] {
			i++
		}
		s.scratch = append(s.scratch, s.line[run:i]...)
	}
	return s.scratch[start:len(s.scratch):len(s.scratch)], i
}

// escaped reads an escape, and returns the byte it stands for and its length;
// length 0 if it is not one that appendEscape writes.
func escaped(b []byte) (byte, int) {
	if len(b) < 2 {
		return 0, 0
	}
	if c := unescapes[b[1]]; c != 0 {
		return c, 2
	}
	if len(b) < 6 || string(b[1:4]) != "u00" {
		return 0, 0
	}
	c, err := strconv.ParseUint(string(b[4:6]), 16, 8)
	var buf [6]byte
	if err != nil || plain[byte(c)] || !bytes.Equal(appendEscape(buf[:0], byte(c)), b[:6]) {
		return 0, 0
	}
	return byte(c), 6
}

var unescapes = func() (t [256]byte) {
	for c, e := range escapes {
		if e != 0 {
			t[e] = byte(c)
		}
	}
	return t
}()

// base64 takes base64 up to the next quote.
func (s *scanner) base64() []byte {
	src := s.untilQuote()
	start := len(s.scratch)
	var err error
	s.scratch, err = base64.StdEncoding.Strict().AppendDecode(s.scratch, src)
	data := s.scratch[start:len(s.scratch):len(s.scratch)]
	// The decoder skips carriage returns, which a Writer never writes.
	if err != nil || base64.StdEncoding.EncodedLen(len(data)) != len(src) {
		s.fail("base64")
	}
	return data
}

// value takes a value of any kind.
func (s *scanner) value(v *change.Value) {
	*v = change.Value{}
	if !s.ok() || s.i >= len(s.line) {
		s.fail("a value")
		return
	}
	switch s.line[s.i] {
	case '"':
		v.Kind, v.Bytes = change.Text, s.str()
	case '{':
		s.tagged(v)
	case 'n':
		s.lit("null")
	default:
		s.number(v)
	}
}

// number takes an untagged number.
func (s *scanner) number(v *change.Value) {
	start := s.i
	v.Kind, v.Int = change.Integer, s.integer()
	if next := s.i; !s.ok() || next < len(s.line) && isNumber[s.line[next]] {
		// Not an integer, or more of it is to come.
		s.i, s.want = start, ""
		*v = change.Value{Kind: change.Real, Real: s.real()}
	}
}

// tagged takes a value that JSON has no notation for.
func (s *scanner) tagged(v *change.Value) {
	switch {
	case s.try(`{"$blob":"`):
		v.Kind, v.Bytes = change.Blob, s.base64()
		s.lit(`"}`)
	case s.try(`{"$real":"Infinity"}`):
		v.Kind, v.Real = change.Real, math.Inf(1)
	case s.try(`{"$real":"-Infinity"}`):
		v.Kind, v.Real = change.Real, math.Inf(-1)
	case s.try(`{"$real":"-0.0"}`):
		v.Kind, v.Real = change.Real, math.Copysign(0, -1)
	case s.try(`{"$text":"`):
		v.Kind, v.Bytes = change.Text, s.rawText()
	default:
		v.Kind, v.Int = change.Integer, s.anyInteger()
	}
}

// rawText takes the rest of {"$text":"…"}.
func (s *scanner) rawText() []byte {
	text := s.base64()
	s.lit(`"}`)
	if utf8.Valid(text) {
		s.fail("text that is not UTF-8")
	}
	return text
}

// text takes text, tagged or not.
func (s *scanner) text() []byte {
	if s.try(`{"$text":"`) {
		return s.rawText()
	}
	return s.str()
}

// name takes a column name, a key of an object.
func (s *scanner) name() string {
	if !s.try(`"` + textPrefix) {
		return s.intern(s.str())
	}
	name := s.intern(s.base64())
	s.lit(`"`)
	if !needsPrefix(name) {
		s.fail("a name that needs base64")
	}
	return name
}

// intern returns b as a string, without making a new one for a known name.
func (s *scanner) intern(b []byte) string {
	if name, ok := s.names[string(b)]; ok {
		return name
	}
	if s.names == nil || len(s.names) >= maxNames {
		s.names = make(map[string]string)
	}
	name := string(b)
	s.names[name] = name
	return name
}
