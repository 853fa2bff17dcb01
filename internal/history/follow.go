package history

import (
	"cmp"
	"iter"
	"slices"
	"strconv"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/ddl"
)

// follow yields the whole life of the rows that have, or had, q's Key. read reads the
// changes that a query selects.
//
// A row may have had other keys before it got this one: those show when the log is read
// backward from where it got the key. What became of a row that lost the key shows when
// the log is read forward from there, and only then is a second pass needed.
func follow[T any](q Query, read func(Query) iter.Seq2[followed[T], error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		life, err := lifeOf(q, read)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		if q.Reverse {
			slices.Reverse(life)
		}
		for _, c := range life {
			if !yield(c.public, nil) {
				return
			}
		}
	}
}

// followed is a change with what is needed to follow rows. It shares no memory with the
// entry.
type followed[T any] struct {
	public   T
	sequence int64
	op       change.Op
	was, is  string // the row's keys before and after the change; is is empty if that cannot differ
	wasAsked bool   // whether the key is the one that is asked for
	isAsked  bool
	err      error
}

// following returns a convert that also says what is needed to follow rows.
func following[T any](q *Query, convert func(Change) T) func(Change) followed[T] {
	return func(c Change) (f followed[T]) {
		f.public, f.sequence, f.op = convert(c), c.Sequence, c.Entry.Op
		if f.aside() {
			return f
		}
		was, is := identities(c.Entry)
		f.was = text(was)
		if f.wasAsked, f.err = q.is(was); f.err == nil && is != nil {
			f.is = text(is)
			f.isAsked, f.err = q.is(is)
		}
		if f.err != nil {
			f.err = about(c, f.err)
		}
		return f
	}
}

// text is a key as a string. Keys that are equal in SQL have the same: 5 and 5.0.
func text(key []change.Column) string {
	var b []byte
	for i := range key {
		v := key[i].Value
		if v.Kind == change.Real && isInt(v.Real, int64(v.Real)) {
			v = change.Value{Kind: change.Integer, Int: int64(v.Real)}
		}
		b = append(b, byte(v.Kind))
		switch v.Kind {
		case change.Integer:
			b = strconv.AppendInt(b, v.Int, 10)
		case change.Real:
			b = strconv.AppendFloat(b, v.Real, 'g', -1, 64)
		default:
			b = strconv.AppendInt(b, int64(len(v.Bytes)), 10)
			b = append(append(b, ':'), v.Bytes...)
		}
		b = append(b, ';')
	}
	return string(b)
}

// aside reports whether the change is not one of a row.
func (f *followed[T]) aside() bool { return f.op == change.Barrier || f.op == change.Schema }

// alters reports whether a statement of the schema drops or alters table, or gives another
// table its name.
func alters(sql, table string) bool {
	w := ddl.Of(sql)
	verb := w.Keyword()
	if verb != "DROP" && verb != "ALTER" || w.Keyword() != "TABLE" {
		return false
	}
	if name, ok := w.Name(); ok && SameName(name, table) {
		return true
	}
	if verb == "DROP" || w.Keyword() != "RENAME" || w.Keyword() != "TO" {
		return false
	}
	name, ok := w.Name()
	return ok && SameName(name, table)
}

func (f *followed[T]) moved() bool { return f.is != "" && f.is != f.was }

func lifeOf[T any](q Query, read func(Query) iter.Seq2[followed[T], error]) ([]followed[T], error) {
	q.Key, q.around = nil, true
	back := backward[T]{tracked: map[string]bool{}}
	q.Reverse = true
	for c, err := range read(q) {
		if err = cmp.Or(err, c.err); err != nil {
			return nil, err
		}
		back.see(c)
	}
	slices.Reverse(back.found)
	if len(back.lost) == 0 {
		return fromBirth(back.found), nil
	}
	slices.Reverse(back.lost)
	fore := forward[T]{lost: back.lost, tracked: map[string]bool{}}
	q.Reverse, q.Since, q.From = false, 0, back.lost[0].sequence+1
	for c, err := range read(q) {
		if err = cmp.Or(err, c.err); err != nil {
			return nil, err
		}
		fore.see(c)
	}
	return fromBirth(merged(back.found, fore.found)), nil
}

// fromBirth drops what happened before the first row was inserted. If the first change is
// no insert, what came before may explain that.
func fromBirth[T any](life []followed[T]) []followed[T] {
	first := slices.IndexFunc(life, func(c followed[T]) bool { return !c.aside() })
	if first > 0 && life[first].op == change.Insert {
		return life[first:]
	}
	return life
}

// merged returns both, in order, and what is in both once.
func merged[T any](a, b []followed[T]) []followed[T] {
	all := append(a, b...)
	bySequence := func(x, y followed[T]) int { return cmp.Compare(x.sequence, y.sequence) }
	slices.SortStableFunc(all, bySequence)
	return slices.CompactFunc(all, func(x, y followed[T]) bool { return x.sequence == y.sequence })
}

// backward collects changes that it sees newest first: those of rows with the key that is
// asked for, and those that a row of that key had before it got the key.
type backward[T any] struct {
	found   []followed[T]
	tracked map[string]bool // other keys of such rows, as of the change to be seen next
	lost    []loss          // where rows lost the key for good
}

// loss is the change by which a row got another key.
type loss struct {
	sequence int64
	key      string
}

func (b *backward[T]) see(c followed[T]) {
	switch {
	case c.aside():
	case c.moved() && (c.isAsked || b.tracked[c.is]):
		delete(b.tracked, c.is)
		if !c.wasAsked {
			b.tracked[c.was] = true
		}
	case c.moved() && c.wasAsked:
		b.lost = append(b.lost, loss{c.sequence, c.is})
	case c.moved() || !c.wasAsked && !b.tracked[c.was]:
		return
	case c.op == change.Insert:
		delete(b.tracked, c.was) // before, it was another row's key
	}
	b.found = append(b.found, c)
}

// forward collects changes that it sees oldest first: those of the rows that have lost the
// key, until they are deleted or get it again.
type forward[T any] struct {
	found   []followed[T]
	lost    []loss // that are still to come
	tracked map[string]bool
}

func (f *forward[T]) see(c followed[T]) {
	for len(f.lost) > 0 && f.lost[0].sequence < c.sequence {
		f.tracked[f.lost[0].key] = true
		f.lost = f.lost[1:]
	}
	if c.aside() || !f.tracked[c.was] {
		return
	}
	if c.op != change.Update {
		delete(f.tracked, c.was) // an insert shows that the table is another one
	}
	if c.op == change.Insert {
		return
	}
	f.found = append(f.found, c)
	if c.moved() {
		delete(f.tracked, c.was)
	}
	if c.moved() && !c.isAsked {
		f.tracked[c.is] = true
	}
}
