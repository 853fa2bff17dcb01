package batch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/driftdb/driftdb-go/internal/change"
)

// small is a batch to damage: transactions 1-2, 3, 4-5.
func small(t testing.TB) []byte {
	insert := func(v int64) change.Entry {
		return change.Entry{Op: change.Insert, Table: "t", HasRowID: true, RowID: v, After: row{integer("i", v), text("s", "a\nb")}}
	}
	plain, _ := encode(t, testHeader, []transaction{
		{first: 1, time: 10, entries: []change.Entry{insert(1), insert(2)}},
		{first: 3, time: 10, entries: []change.Entry{insert(3)}},
		{first: 4, time: 20, entries: []change.Entry{insert(4), insert(5)}},
	})
	return plain
}

func TestRecordsSayWhereTransactionsBegin(t *testing.T) {
	r, err := NewReader(bytes.NewReader(small(t)))
	must(t, err)
	if r.Header() != testHeader || r.Chain() != testHeader.Prev {
		t.Errorf("header %+v, chain %v", r.Header(), r.Chain())
	}
	var got []string
	chains := map[Chain]bool{r.Chain(): true}
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		got = append(got, fmt.Sprint(rec.Sequence, rec.Tx, rec.Time, rec.First, rec.Last))
		if chains[r.Chain()] == rec.Last {
			t.Errorf("sequence %d: chain is %v", rec.Sequence, r.Chain())
		}
		chains[r.Chain()] = true
	}
	want := []string{"1 1 10 true false", "2 1 10 false true", "3 3 10 true true", "4 4 20 true false", "5 4 20 false true"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// Whatever happens to a byte of a batch, it is noticed.
func TestEveryDamageIsNoticed(t *testing.T) {
	plain := small(t)
	for i := range plain {
		for _, mask := range []byte{0x01, 0x02, 0x20, 0x80, 0xff, plain[i] ^ '\n', plain[i] ^ '0', plain[i] ^ '9'} {
			if mask == 0 || i < bytes.IndexByte(plain, '\n') && !inPrev(plain, i) {
				continue // node, epoch and version are the caller's to compare
			}
			damaged := bytes.Clone(plain)
			damaged[i] ^= mask
			if _, _, _, err := decode(bytes.NewReader(damaged)); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d of %q flipped with %#x: %v", i, plain, mask, err)
			}
			if _, err := decodeOnly(damaged, 3, 3); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d of %q flipped with %#x, and only a part decoded: %v", i, plain, mask, err)
			}
		}
		if _, _, _, err := decode(bytes.NewReader(plain[:i])); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
}

// decodeOnly returns the sequences of the records that have an entry, and how many they take.
func decodeOnly(plain []byte, from, to int64) (decoded []string, err error) {
	r, err := NewReader(bytes.NewReader(plain))
	if err != nil {
		return nil, err
	}
	r.Only(from, to)
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return decoded, nil
		}
		if err != nil {
			return nil, err
		}
		if e := rec.Entry; e.Table != "" || e.Op == change.Barrier {
			decoded = append(decoded, fmt.Sprintf("%d+%d", rec.Sequence, e.Width()))
		} else if len(e.After) > 0 || e.HasRowID {
			return nil, fmt.Errorf("sequence %d has a part of an entry: %+v", rec.Sequence, e)
		}
	}
}

// TestOnly: whichever entries are decoded, the batch is verified, and ranges are known.
func TestOnly(t *testing.T) {
	insert := change.Entry{Op: change.Insert, Table: "t", HasRowID: true, RowID: 1, After: row{integer("i", 1)}}
	plain, _ := encode(t, testHeader, []transaction{
		{first: 1, time: 10, entries: []change.Entry{insert, insert}},
		{first: 3, time: 10, entries: []change.Entry{{Op: change.Barrier, Reason: "VACUUM", Count: 5}}},
		{first: 8, time: 20, entries: []change.Entry{insert, insert}},
	})
	for _, c := range []struct {
		from, to int64
		want     string
	}{
		{0, 0, "1+1 2+1 3+5 8+1 9+1"},
		{2, 0, "2+1 3+5 8+1 9+1"},
		{0, 1, "1+1 2+1 3+5"}, // all of the transaction that begins there
		{9, 8, "3+5 9+1"},
		{100, 0, "3+5"},
	} {
		got, err := decodeOnly(plain, c.from, c.to)
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("from %d to %d: %q, %v", c.from, c.to, got, err)
		}
	}
}

// inPrev says whether byte i is of the chain in the header.
func inPrev(plain []byte, i int) bool {
	start := bytes.Index(plain, []byte(`"prev":"`))
	return start <= i && i < start+len(`"prev":"`)+64
}

// An entry that was cut off must not make the one before it look like the end
// of its transaction.
func TestNoTransactionEndsByAccident(t *testing.T) {
	plain := small(t)
	for i := range plain {
		r, err := NewReader(bytes.NewReader(plain[:i]))
		for err == nil {
			var rec *Record
			if rec, err = r.Next(); err == nil && rec.Last && rec.Sequence != 2 && rec.Sequence != 3 && rec.Sequence != 5 {
				t.Fatalf("cut to %d bytes: sequence %d is last", i, rec.Sequence)
			}
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	plain := string(small(t))
	lines := strings.SplitAfter(plain, "\n")
	join := func(order ...int) string {
		var b strings.Builder
		for _, i := range order {
			b.WriteString(lines[i])
		}
		return b.String()
	}
	sub := func(old, new string) string {
		if !strings.Contains(plain, old) {
			t.Fatalf("%s is not in the batch", old)
		}
		return strings.Replace(plain, old, new, 1)
	}
	// rangeAt3 makes transaction 3 a barrier over count numbers, and moves what
	// follows behind the two that it says.
	rangeAt3 := func(count int) string {
		b := join(0, 1, 2) +
			fmt.Sprintf(`{"sequence":3,"timestamp":10,"tx":3,"operation":"barrier","data":{"reason":"","count":%d}},`+"\n", count) + join(4, 5, 6)
		return strings.NewReplacer(`"sequence":5`, `"sequence":6`, `"sequence":4`, `"sequence":5`, `"tx":4`, `"tx":5`, `"toSequence":5`, `"toSequence":6`).Replace(b)
	}
	if _, _, _, err := decode(strings.NewReader(rehash(t, rangeAt3(2)))); err != nil {
		t.Fatalf("a barrier over two sequences: %v", err)
	}
	for name, c := range map[string]struct {
		batch string
		want  error
	}{
		"empty input":            {"", ErrCorrupt},
		"other JSON":             {"{}\n", ErrCorrupt},
		"newer version":          {sub(`"version":1,`, `"version":2,"added":0,`), ErrVersion},
		"version with a point":   {sub(`"version":1,`, `"version":1.0,`), ErrCorrupt},
		"unknown header field":   {sub(`"epoch"`, `"added":1,"epoch"`), ErrCorrupt},
		"negative epoch":         {sub(`"epoch":5`, `"epoch":-5`), ErrCorrupt},
		"from 0":                 {sub(`"fromSequence":1`, `"fromSequence":0`), ErrCorrupt},
		"from another sequence":  {sub(`"fromSequence":1`, `"fromSequence":2`), ErrCorrupt},
		"no entries":             {join(0, 6), ErrCorrupt},
		"first entry missing":    {join(0, 2, 3, 4, 5, 6), ErrCorrupt},
		"entry missing":          {join(0, 1, 3, 4, 5, 6), ErrCorrupt},
		"last entry missing":     {join(0, 1, 2, 3, 4, 6), ErrCorrupt},
		"entry twice":            {join(0, 1, 1, 2, 3, 4, 5, 6), ErrCorrupt},
		"entries swapped":        {join(0, 2, 1, 3, 4, 5, 6), ErrCorrupt},
		"no trailer":             {join(0, 1, 2, 3, 4, 5), ErrCorrupt},
		"data after the end":     {plain + "\n", ErrCorrupt},
		"two batches":            {plain + plain, ErrCorrupt},
		"unknown entry field":    {sub(`"rowid":1,`, `"rowid":1,"added":1,`), ErrCorrupt},
		"field order":            {sub(`"sequence":1,"timestamp":10`, `"timestamp":10,"sequence":1`), ErrCorrupt},
		"space":                  {sub(`"rowid":1`, `"rowid": 1`), ErrCorrupt},
		"carriage return":        {sub("},\n", "},\r\n"), ErrCorrupt},
		"comma missing":          {sub("},\n", "}\n"), ErrCorrupt},
		"comma before the end":   {sub("}\n]", "},\n]"), ErrCorrupt},
		"time in a transaction":  {sub(`"sequence":5,"timestamp":20`, `"sequence":5,"timestamp":21`), ErrCorrupt},
		"number spelled 03":      {sub(`"i":3`, `"i":03`), ErrCorrupt},
		"number spelled -0":      {sub(`"i":3`, `"i":-0`), ErrCorrupt},
		"number spelled 3e0":     {sub(`"i":3`, `"i":3e0`), ErrCorrupt},
		"number spelled 3.00":    {sub(`"i":3`, `"i":3.00`), ErrCorrupt},
		"small tagged integer":   {sub(`"i":3`, `"i":{"$int":"3"}`), ErrCorrupt},
		"large plain integer":    {sub(`"i":3`, `"i":9007199254740993`), ErrCorrupt},
		"overflowing integer":    {sub(`"i":3`, `"i":{"$int":"9223372036854775808"}`), ErrCorrupt},
		"unknown tag":            {sub(`"i":3`, `"i":{"$date":"3"}`), ErrCorrupt},
		"nested array":           {sub(`"i":3`, `"i":[3]`), ErrCorrupt},
		"true":                   {sub(`"i":3`, `"i":true`), ErrCorrupt},
		"finite tagged real":     {sub(`"i":3`, `"i":{"$real":"1.0"}`), ErrCorrupt},
		"UTF-8 in base64":        {sub(`"i":3`, `"i":{"$text":"YQ=="}`), ErrCorrupt},
		"base64 without padding": {sub(`"i":3`, `"i":{"$blob":"YQ"}`), ErrCorrupt},
		"base64 with rest bits":  {sub(`"i":3`, `"i":{"$blob":"YR=="}`), ErrCorrupt},
		"base64 with return":     {sub(`"i":3`, `"i":{"$blob":"Y`+"\r"+`Q=="}`), ErrCorrupt},
		"needless escape":        {sub(`a\nb`, `\u0061`), ErrCorrupt},
		"long escape":            {sub(`a\nb`, `\u000a`), ErrCorrupt},
		"escaped slash":          {sub(`a\nb`, `\/`), ErrCorrupt},
		"upper-case escape":      {sub(`a\nb`, `\u001F`), ErrCorrupt},
		"raw control":            {sub(`a\nb`, "a\tb"), ErrCorrupt},
		"raw delete":             {sub(`a\nb`, "a\x7fb"), ErrCorrupt},
		"string not UTF-8":       {sub(`a\nb`, "\xff"), ErrCorrupt},
		"name in needless $text": {sub(`"i":3`, `"$text:aQ==":3`), ErrCorrupt},
		"nothing but a position": {join(0) + `{"sequence":1,"timestamp":10,"tx":1,` + "\n" + join(2, 3, 4, 5, 6), ErrCorrupt},
		"position too long":      {sub(`"tx":3`, `"tx":3`+strings.Repeat("0", 100)), ErrCorrupt},
		"unknown operation":      {sub(`"insert"`, `"upsert"`), ErrCorrupt},
		"insert without table":   {sub(`"table":"t",`, ``), ErrCorrupt},
		"barrier with table":     {sub(`"operation":"insert"`, `"operation":"barrier"`), ErrCorrupt},
		"barrier of a table":     {sub(`"insert","rowid":3,"data":{"i":3,"s":"a\nb"}`, `"barrier","data":{"reason":""}`), ErrCorrupt},
		"barrier for 1":          {sub(`"insert","rowid":3,"data":{"i":3,"s":"a\nb"}`, `"barrier","data":{"reason":"","count":1}`), ErrCorrupt},
		"barrier for -2":         {sub(`"insert","rowid":3,"data":{"i":3,"s":"a\nb"}`, `"barrier","data":{"reason":"","count":-2}`), ErrCorrupt},
		"barrier with a gap":     {rangeAt3(3), ErrCorrupt},
		"barrier that overlaps":  {rangeAt3(1), ErrCorrupt},
		"barrier with company":   {strings.Replace(rangeAt3(2), `"tx":5`, `"tx":3`, 2), ErrCorrupt},
		"no digests":             {sub(`,"head"`, `,"digests":{},"head"`), ErrCorrupt},
		"short digest":           {sub(`,"head"`, `,"digests":{"a":"00"},"head"`), ErrCorrupt},
		"upper-case digest":      {sub(`,"head"`, `,"digests":{"a":"`+strings.Repeat("A", 32)+`"},"head"`), ErrCorrupt},
		"digest of a number":     {sub(`,"head"`, `,"digests":{"a":0},"head"`), ErrCorrupt},
		"digests out of order":   {sub(`,"head"`, `,"digests":{"b":null,"a":null},"head"`), ErrCorrupt},
		"digest twice":           {sub(`,"head"`, `,"digests":{"a":null,"a":null},"head"`), ErrCorrupt},
		"comma after digests":    {sub(`,"head"`, `,"digests":{"a":null,},"head"`), ErrCorrupt},
		"colon missing":          {sub(`"i":3`, `"i"3.5`), ErrCorrupt},
		"wrong end":              {sub(`"toSequence":5`, `"toSequence":6`), ErrCorrupt},
		"upper-case chain":       {sub(testHeader.Prev.String(), strings.ToUpper(testHeader.Prev.String())), ErrCorrupt},
	} {
		// With the chain put right, it is the rule alone that refuses.
		_, _, _, err := decode(strings.NewReader(rehash(t, c.batch)))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestTheChainTellsWhatLooksRight(t *testing.T) {
	plain := string(small(t))
	for _, c := range [][2]string{
		{`"i":3`, `"i":4`},
		{`"timestamp":10,"tx":3`, `"timestamp":11,"tx":3`},
		{`"timestamp":10,"tx":3`, `"timestamp":-9,"tx":3`}, // a clock may be set back
		{`"tx":3`, `"tx":1`},
		{`"sequence":2,"timestamp":10,"tx":1`, `"sequence":2,"timestamp":10,"tx":2`},
		{testHeader.Prev.String(), Genesis("other").String()},
	} {
		altered := strings.Replace(plain, c[0], c[1], 1)
		if _, _, _, err := decode(strings.NewReader(altered)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s for %s: %v", c[1], c[0], err)
		}
		if _, _, _, err := decode(strings.NewReader(rehash(t, altered))); err != nil {
			t.Errorf("%s for %s with its own chain: %v", c[1], c[0], err)
		}
	}
}

var (
	txField   = regexp.MustCompile(`"tx":(\d+)`)
	headField = regexp.MustCompile(`"head":"[0-9a-f]{64}"`)
	prevField = regexp.MustCompile(`"prev":"([0-9a-f]{64})"`)
)

// rehash gives a batch the head that its entries lead to, computed here once
// more by the rule of Chain.
func rehash(t *testing.T, batch string) string {
	prev := prevField.FindStringSubmatch(batch)
	if prev == nil {
		return batch
	}
	chain, err := ParseChain(prev[1])
	must(t, err)
	c, tx := chain[:], ""
	var hashed []byte
	for line := range strings.Lines(batch) {
		field := txField.FindStringSubmatch(line)
		if hashed != nil && (field == nil || field[1] != tx) {
			sum := sha256.Sum256(hashed)
			c, hashed = sum[:], nil
		}
		if field == nil {
			continue
		}
		if hashed == nil {
			tx, hashed = field[1], bytes.Clone(c)
		}
		hashed = append(hashed, strings.TrimRight(line, ",\n")+"\n"...)
	}
	return headField.ReplaceAllString(batch, fmt.Sprintf(`"head":"%x"`, c))
}

func TestErrorsSayWhere(t *testing.T) {
	spelled := strings.Replace(string(small(t)), `"i":3`, `"i":3.00`, 1)
	_, _, _, err := decode(strings.NewReader(spelled))
	if err == nil || !strings.Contains(err.Error(), "line 4, byte 92") {
		t.Errorf("%v, want the line and the byte", err)
	}
}

func TestErrorsOfTheSourcePassThrough(t *testing.T) {
	plain := small(t)
	errBroken := errors.New("connection reset")
	for i := range len(plain) + 1 {
		src := io.MultiReader(bytes.NewReader(plain[:i]), iotest.ErrReader(errBroken))
		if _, _, _, err := decode(src); !errors.Is(err, errBroken) || errors.Is(err, ErrCorrupt) {
			t.Fatalf("broken after %d bytes: %v", i, err)
		}
	}
	if _, _, _, err := decode(stuck{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that yields nothing: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestEndlessLineIsRefused(t *testing.T) {
	l := newLines(endless{}, 3*readSize)
	if _, err := l.next(); !errors.Is(err, ErrCorrupt) || len(l.buf) > 4*readSize+1+lookahead {
		t.Errorf("%v with a buffer of %d bytes", err, len(l.buf))
	}
}

func TestShortLinesNeedNoMoreMemory(t *testing.T) {
	l := newLines(strings.NewReader(strings.Repeat(strings.Repeat("x", readSize/3)+"\n", 50)), readSize)
	for range 50 {
		_, err := l.next()
		must(t, err)
	}
	if len(l.buf) > 2*readSize {
		t.Errorf("the buffer has grown to %d bytes", len(l.buf))
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
