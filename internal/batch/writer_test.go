package batch

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
)

var barrier = &change.Entry{Op: change.Barrier, Reason: "r"}

func TestWriterRefusesMisuse(t *testing.T) {
	for name, use := range map[string]func(w *Writer) error{
		"add outside":       func(w *Writer) error { return w.Add(barrier) },
		"end outside":       func(w *Writer) error { return w.End() },
		"gap":               func(w *Writer) error { return w.Begin(2, 0) },
		"empty transaction": func(w *Writer) error { return errors.Join(noError(w.Begin(1, 0)), w.End()) },
		"nested":            func(w *Writer) error { return errors.Join(noError(w.Begin(1, 0)), w.Begin(1, 0)) },
		"closed inside":     func(w *Writer) error { return errors.Join(noError(w.Begin(1, 0)), closeBatch(w)) },
		"no transactions":   closeBatch,
		"time too late":     func(w *Writer) error { return w.Begin(1, maxExact+1) },
		"time too early":    func(w *Writer) error { return w.Begin(1, -maxExact-1) },
		"closed": func(w *Writer) error {
			return errors.Join(noError(write(w, 1, 1)), noError(closeBatch(w)), w.Begin(2, 9))
		},
		"unknown operation":         func(w *Writer) error { return errors.Join(noError(w.Begin(1, 0)), w.Add(&change.Entry{Op: 9})) },
		"insert with a strange key": func(w *Writer) error { return add(w, change.Entry{Op: change.Insert, Key: row{null("k")}}) },
		"insert with row before":    func(w *Writer) error { return add(w, change.Entry{Op: change.Insert, Before: row{null("k")}}) },
		"delete with row after":     func(w *Writer) error { return add(w, change.Entry{Op: change.Delete, After: row{null("k")}}) },
		"barrier with a rowid":      func(w *Writer) error { return add(w, change.Entry{Op: change.Barrier, HasRowID: true}) },
		"barrier for one":           func(w *Writer) error { return add(w, change.Entry{Op: change.Barrier, Count: 1}) },
		"barrier for less":          func(w *Writer) error { return add(w, change.Entry{Op: change.Barrier, Count: -2}) },
		"schema for two":            func(w *Writer) error { return add(w, change.Entry{Op: change.Schema, Count: 2}) },
		"barrier past the end":      func(w *Writer) error { return add(w, change.Entry{Op: change.Barrier, Count: maxExact}) },
		"range after an entry": func(w *Writer) error {
			return errors.Join(noError(add(w, *barrier)), w.Add(&change.Entry{Op: change.Barrier, Count: 2}))
		},
		"entry after a range": func(w *Writer) error {
			return errors.Join(noError(add(w, change.Entry{Op: change.Barrier, Count: 2})), w.Add(barrier))
		},
		"schema with a row after": func(w *Writer) error { return add(w, change.Entry{Op: change.Schema, After: row{null("k")}}) },
	} {
		w := NewWriter(io.Discard, testHeader)
		if err := use(w); err == nil || errors.Is(err, errUnexpected) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.Close(); err == nil {
			t.Errorf("%s: the error did not stay", name)
		}
	}
	for name, h := range map[string]Header{
		"node":  {NodeID: "\xff", From: 1},
		"epoch": {Epoch: -1, From: 1},
		"from":  {},
	} {
		if err := NewWriter(io.Discard, h).Begin(h.From, 0); err == nil {
			t.Errorf("header with a bad %s was taken", name)
		}
	}
}

var errUnexpected = errors.New("unexpected")

// noError marks an error of a step that has to succeed.
func noError(err error) error {
	if err != nil {
		return errors.Join(errUnexpected, err)
	}
	return nil
}

func add(w *Writer, e change.Entry) error {
	return errors.Join(noError(w.Begin(1, 0)), w.Add(&e))
}

func closeBatch(w *Writer) error {
	_, err := w.Close()
	return err
}

// write writes a transaction of one barrier.
func write(w *Writer, sequence, time int64) error {
	return errors.Join(w.Begin(sequence, time), w.Add(barrier), w.End())
}

func TestWriterReportsItsSink(t *testing.T) {
	errFull := errors.New("disk full")
	w := NewWriter(failing{errFull}, testHeader)
	must(t, w.Begin(1, 0))
	big := &change.Entry{Op: change.Barrier, Reason: strings.Repeat("x", flushAt)}
	if err := w.Add(big); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	if _, err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestSize(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, testHeader)
	for i := range int64(2000) {
		must(t, write(w, i+1, i))
	}
	before := w.Size()
	_, err := w.Close()
	must(t, err)
	if w.Size() != int64(out.Len()) || before >= w.Size() || before < w.Size()-200 {
		t.Errorf("size %d, closed %d, written %d", before, w.Size(), out.Len())
	}
}

func TestCopyRefusesWhatDoesNotFollow(t *testing.T) {
	one := []transaction{{first: 1, time: 5, entries: []change.Entry{*barrier}}}
	_, trailer := encode(t, testHeader, one)
	next := Header{NodeID: testHeader.NodeID, Epoch: testHeader.Epoch, From: 2, Prev: trailer.Head}
	for name, c := range map[string]struct {
		change func(*Header)
		time   int64
		ok     bool
	}{
		"as it should be": {func(*Header) {}, 5, true},
		"other node":      {func(h *Header) { h.NodeID = "n2" }, 5, false},
		"other epoch":     {func(h *Header) { h.Epoch++ }, 5, false},
		"gap":             {func(h *Header) { h.From++ }, 5, false},
		"other branch":    {func(h *Header) { h.Prev = Genesis("x") }, 5, false},
		"time goes back":  {func(*Header) {}, 4, true},
	} {
		h := next
		c.change(&h)
		part, _ := encode(t, h, []transaction{{first: h.From, time: c.time, entries: []change.Entry{*barrier}}})
		r, err := NewReader(bytes.NewReader(part))
		must(t, err)
		w := NewWriter(io.Discard, testHeader)
		must(t, write(w, 1, 5))
		if err := w.Copy(r); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChainText(t *testing.T) {
	c := Genesis("db")
	got, err := ParseChain(c.String())
	if err != nil || got != c || Genesis("other") == c {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", c.String()[1:], c.String() + "0", strings.ToUpper(c.String()), "g" + c.String()[1:]} {
		if _, err := ParseChain(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
