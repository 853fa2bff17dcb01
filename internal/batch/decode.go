package batch

import (
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// The functions below mirror those in encode.go, field by field.

// position takes what every entry starts with.
func (s *scanner) position() position {
	var p position
	s.lit(`{"sequence":`)
	p.sequence = s.integer()
	s.lit(`,"timestamp":`)
	p.time = s.integer()
	s.lit(`,"tx":`)
	p.tx = s.integer()
	return p
}

// entry takes the rest of an entry after its position. It reuses e's slices.
func (s *scanner) entry(e *change.Entry) {
	*e = change.Entry{Key: e.Key[:0], After: e.After[:0], Before: e.Before[:0]}
	hasTable := s.try(`,"table":`)
	if hasTable {
		e.Table = s.intern(s.text())
	}
	s.lit(`,"operation":"`)
	op, known := change.ParseOp(string(s.untilQuote()))
	if !known || isRowChange(op) != hasTable {
		s.fail("an operation, and a table if it changes a row")
	}
	e.Op = op
	s.lit(`"`)
	if hasTable && s.try(`,"rowid":`) {
		s.rowID(e)
	}
	if op == change.Insert && s.try(`,"key":[`) {
		s.keyNames(e)
	}
	s.lit(`,"data":`)
	s.data(e)
	s.lit(`}`)
	if op == change.Insert {
		s.keyValues(e)
	}
}

func (s *scanner) keyNames(e *change.Entry) {
	for s.ok() {
		e.Key = append(e.Key, change.Column{Name: s.name()})
		if !s.try(`,`) {
			break
		}
	}
	s.lit(`]`)
}

// keyValues takes the values of an inserted row's key from the row.
func (s *scanner) keyValues(e *change.Entry) {
	for i := range e.Key {
		v := change.Find(e.After, e.Key[i].Name)
		if v == nil {
			s.fail("a key column that is part of the row")
			return
		}
		e.Key[i].Value = *v
	}
}

func (s *scanner) rowID(e *change.Entry) {
	e.HasRowID = true
	e.RowID = s.anyInteger()
	if e.Op != change.Update {
		return
	}
	e.NewRowID = e.RowID
	if s.try(`,"newRowid":`) {
		e.NewRowID = s.anyInteger()
		if e.NewRowID == e.RowID {
			s.fail("a rowid that differs")
		}
	}
}

func (s *scanner) data(e *change.Entry) {
	switch e.Op {
	case change.Insert:
		e.After = s.row(e.After)
	case change.Update:
		s.lit(`{"where":`)
		e.Key = s.row(e.Key)
		s.lit(`,"data":`)
		e.After = s.row(e.After)
		s.lit(`},"before":`)
		e.Before = s.row(e.Before)
	case change.Delete:
		s.lit(`{"where":`)
		e.Key = s.row(e.Key)
		s.lit(`},"before":`)
		e.Before = s.row(e.Before)
	case change.Schema:
		s.lit(`{"sql":`)
		e.SQL = string(s.text())
		s.lit(`,"settings":{"foreignKeys":`)
		e.Settings.ForeignKeys = s.boolean()
		s.lit(`,"legacyAlterTable":`)
		e.Settings.LegacyAlterTable = s.boolean()
		s.lit(`,"doubleQuotedDDL":`)
		e.Settings.DoubleQuotedDDL = s.boolean()
		s.lit(`,"doubleQuotedDML":`)
		e.Settings.DoubleQuotedDML = s.boolean()
		s.lit(`}}`)
	case change.Barrier:
		s.lit(`{"reason":`)
		e.Reason = string(s.text())
		if s.try(`,"count":`) {
			if e.Count = s.integer(); e.Count < 2 {
				s.fail("a count from 2")
			}
		}
		s.lit(`}`)
	}
}

// row takes an object of values, appended to row.
func (s *scanner) row(row []change.Column) []change.Column {
	s.lit(`{`)
	if s.try(`}`) {
		return row
	}
	for s.ok() {
		name := s.name()
		s.lit(`:`)
		row = append(row, change.Column{Name: name})
		s.value(&row[len(row)-1].Value)
		if !s.try(`,`) {
			break
		}
	}
	s.lit(`}`)
	return row
}

// header takes the first line of a batch. It checks the version first, because
// everything else depends on it.
func (s *scanner) header() (h Header, version int64) {
	s.lit(`{"version":`)
	version = s.integer()
	if !s.ok() || version != Version {
		return h, version
	}
	s.lit(`,"nodeId":`)
	h.NodeID = string(s.str())
	s.lit(`,"epoch":`)
	h.Epoch = s.integer()
	s.lit(`,"fromSequence":`)
	h.From = s.integer()
	s.lit(`,"prev":"`)
	h.Prev = s.chain()
	s.lit(`","entries":[`)
	if h.Epoch < 0 || h.From < 1 {
		s.fail("an epoch from 0 and a sequence from 1")
	}
	s.end()
	return h, version
}

// trailer takes the last line of a batch.
func (s *scanner) trailer() (t Trailer) {
	s.lit(`],"toSequence":`)
	t.To = s.integer()
	if s.try(`,"digests":{`) {
		t.Digests = s.digests()
	}
	s.lit(`,"head":"`)
	t.Head = s.chain()
	s.lit(`"}`)
	s.end()
	return t
}

// digests takes the rest of an object of digests, which has at least one.
func (s *scanner) digests() digest.Report {
	r := digest.Report{}
	last := ""
	for s.ok() {
		table := s.name()
		if len(r) > 0 && table <= last {
			s.fail("tables in order")
		}
		s.lit(`:`)
		r[table] = s.digest()
		last = table
		if !s.try(`,`) {
			break
		}
	}
	s.lit(`}`)
	return r
}

func (s *scanner) digest() *digest.Sum {
	if s.try("null") {
		return nil
	}
	s.lit(`"`)
	sum := new(digest.Sum)
	if s.ok() && sum.UnmarshalText(s.untilQuote()) != nil {
		s.fail("32 lower-case hex digits or null")
	}
	s.lit(`"`)
	return sum
}

func (s *scanner) chain() (c Chain) {
	if !c.parse(s.untilQuote()) {
		s.fail("64 lower-case hex digits")
	}
	return c
}
