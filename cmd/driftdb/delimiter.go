package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// delimiters are those that are found without being told. Where two fit equally, the first
// counts.
var delimiters = []rune{',', ';', '\t', '|'}

// parseDelimiter reads the flag --delimiter; 0 means that it is to be found.
func parseDelimiter(text string) (rune, error) {
	switch text {
	case "":
		return 0, nil
	case "tab", `\t`:
		return '\t', nil
	}
	r, size := utf8.DecodeRuneInString(text)
	if size != len(text) || r == utf8.RuneError || strings.ContainsRune("\"\r\n\x00\ufeff", r) {
		return 0, usagef("--delimiter %q is not a single character that can separate fields; use one such as ';', or tab", text)
	}
	return r, nil
}

// delimiterName names a delimiter in messages; --delimiter accepts it.
func delimiterName(r rune) string {
	if r == '\t' {
		return "tab"
	}
	return strconv.Quote(string(r))
}

// sample returns the beginning of a text without reading it: of a file a buffer full, whose
// last line may not be whole, and of anything else only the first row, since whoever writes
// a pipe may wait with the next.
func sample(s *source) string {
	if s.again() {
		b, _ := s.text.Peek(s.text.Size()) // an error comes again when it is read
		return string(b)
	}
	return firstRow(s.text)
}

// firstRow returns the text up to the end of its first row, or a buffer full.
func firstRow(text *bufio.Reader) string {
	for n := 1; ; n = text.Buffered() + 1 {
		_, err := text.Peek(n) // waits for one byte at most
		b, _ := text.Peek(text.Buffered())
		quoted := false
		for i, c := range b {
			switch {
			case c == '"':
				quoted = !quoted
			case c == '\n' && !quoted && len(bytes.TrimSpace(b[:i])) > 0:
				return string(b[:i+1])
			}
		}
		if err != nil { // the end, or the buffer is full
			return string(b)
		}
	}
}

// findDelimiter returns the delimiter that gives all rows of a sample the same number of
// fields, the most if several do. Where none does, it is the most frequent one of the first
// row, the header. found is false if there is only one column.
func findDelimiter(sample string) (best rune, found bool) {
	if i := strings.LastIndexByte(sample, '\n'); i >= 0 {
		sample = sample[:i+1]
	}
	most, equal := 1, false
	best = delimiters[0]
	for _, d := range delimiters {
		width, same := measure(sample, d)
		if width > 1 && (same && !equal || same == equal && width > most) {
			best, most, equal = d, width, same
		}
	}
	return best, most > 1
}

// measure returns how many fields the first row has, and whether all rows have as many.
func measure(sample string, delimiter rune) (width int, same bool) {
	r := csv.NewReader(strings.NewReader(sample))
	r.Comma, r.FieldsPerRecord, r.ReuseRecord = delimiter, -1, true
	for same = true; ; {
		row, err := r.Read()
		if err == io.EOF || err != nil && width > 0 { // a sample may end within quotes
			return width, same
		}
		if err != nil {
			return 0, false
		}
		if width == 0 {
			width = len(row)
		}
		same = same && len(row) == width
	}
}
