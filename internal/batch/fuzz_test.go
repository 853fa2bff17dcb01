package batch

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
)

// FuzzReader holds the reader to its promise: what it accepts is what a Writer
// writes, byte for byte; all else is one of our errors.
func FuzzReader(f *testing.F) {
	golden, _ := encodeWith(f, testHeader, goldenTransactions, goldenDigests)
	f.Add(golden)
	f.Add(small(f))
	f.Fuzz(func(t *testing.T, batch []byte) {
		h, txs, trailer, err := decode(bytes.NewReader(batch))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Errorf("%v is none of our errors", err)
			}
			return
		}
		if again, _ := encodeWith(t, h, txs, trailer.Digests); !bytes.Equal(again, batch) {
			t.Errorf("accepted\n%s\nbut a Writer writes\n%s", batch, again)
		}
	})
}

// FuzzEntry compares the scanner with encoding/json, entry by entry, where no
// chain keeps the fuzzer out.
func FuzzEntry(f *testing.F) {
	golden, _ := encodeWith(f, testHeader, goldenTransactions, goldenDigests)
	for line := range bytes.Lines(golden) {
		f.Add(bytes.TrimRight(line, ",\n"))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var s scanner
		s.reset(line, 0)
		p := s.position()
		var e change.Entry
		s.entry(&e)
		s.end()
		if !s.ok() {
			return
		}
		again, err := appendEntry(nil, p, &e)
		if err != nil || !bytes.Equal(again, line) {
			t.Fatalf("accepted\n%s\nbut it is written as\n%s, %v", line, again, err)
		}
		if err := sameAsJSON(line, p, e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	})
}

// sameAsJSON reads the line with encoding/json, and compares.
func sameAsJSON(line []byte, p position, e change.Entry) error {
	var v struct {
		Sequence, Timestamp, Tx int64
		Table                   any
		Operation               string
		Rowid, NewRowid         any
		Key                     []string
		Data, Before            json.RawMessage
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return err
	}
	if v.Sequence != p.sequence || v.Timestamp != p.time || v.Tx != p.tx || v.Operation != e.Op.String() {
		return fmt.Errorf("is %+v", v)
	}
	var parts struct {
		Where, Data json.RawMessage
		SQL, Reason any
		Count       int64
	}
	if e.Op != change.Insert {
		d := json.NewDecoder(bytes.NewReader(v.Data))
		d.UseNumber()
		if err := d.Decode(&parts); err != nil {
			return err
		}
	}
	switch e.Op {
	case change.Insert:
		if len(v.Key) != len(e.Key) {
			return fmt.Errorf("the key is %q", v.Key)
		}
		return sameRow(v.Data, e.After)
	case change.Update:
		return errors.Join(sameRow(parts.Where, e.Key), sameRow(parts.Data, e.After), sameRow(v.Before, e.Before))
	case change.Delete:
		return errors.Join(sameRow(parts.Where, e.Key), sameRow(v.Before, e.Before))
	case change.Schema:
		return sameValue(parts.SQL, change.Value{Kind: change.Text, Bytes: []byte(e.SQL)})
	default:
		if parts.Count != e.Count {
			return fmt.Errorf("it stands for %d", parts.Count)
		}
		return sameValue(parts.Reason, change.Value{Kind: change.Text, Bytes: []byte(e.Reason)})
	}
}

// sameRow compares by tokens, because a map would lose the order.
func sameRow(raw []byte, want row) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("%s is no object: %v", raw, err)
	}
	for i := 0; d.More(); i++ {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return err
		}
		key := name.(string)
		if rest, tagged := strings.CutPrefix(key, textPrefix); tagged {
			b, err := base64.StdEncoding.DecodeString(rest)
			if err != nil {
				return err
			}
			key = string(b)
		}
		if i >= len(want) || want[i].Name != key {
			return fmt.Errorf("column %d is %q", i, key)
		}
		if err := sameValue(v, want[i].Value); err != nil {
			return fmt.Errorf("column %q: %w", key, err)
		}
	}
	return nil
}

func sameValue(got any, want change.Value) error {
	v := change.Value{}
	switch got := got.(type) {
	case string:
		v = change.Value{Kind: change.Text, Bytes: []byte(got)}
	case json.Number:
		if i, err := got.Int64(); err == nil {
			v = change.Value{Kind: change.Integer, Int: i}
		} else if f, err := got.Float64(); err == nil {
			v = change.Value{Kind: change.Real, Real: f}
		}
	case map[string]any:
		for tag, s := range got {
			v = untag(tag, fmt.Sprint(s))
		}
	}
	if !equalColumns(change.Column{Value: v}, change.Column{Value: want}) {
		return fmt.Errorf("%v is %+v, want %+v", got, v, want)
	}
	return nil
}

func untag(tag, s string) change.Value {
	raw, _ := base64.StdEncoding.DecodeString(s)
	switch tag {
	case "$blob":
		return change.Value{Kind: change.Blob, Bytes: raw}
	case "$text":
		return change.Value{Kind: change.Text, Bytes: raw}
	case "$int":
		i, _ := strconv.ParseInt(s, 10, 64)
		return change.Value{Kind: change.Integer, Int: i}
	default:
		f, _ := strconv.ParseFloat(s, 64)
		if s == "-0.0" {
			f = math.Copysign(0, -1)
		}
		return change.Value{Kind: change.Real, Real: f}
	}
}
