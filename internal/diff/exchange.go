package diff

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"

	"github.com/driftdb/driftdb-go/internal/change"
)

// exchange finds, among the updates of one table, values that one row gives up and another
// one takes. If a UNIQUE constraint is on the column, the rows cannot be updated one by one in
// every order, and in none if they exchange their values. So a row first gets a value of its
// own for what it gives up.
//
// Only a value that one row gives up and one row takes matters: it is not unique otherwise. If
// a row changes several columns, all of them together are one value, too.
type exchange struct {
	gives, takes []uint64 // hashes
	parked       map[uint64]bool
}

// see takes up an update.
func (x *exchange) see(e *change.Entry) {
	for _, c := range exchanged(e) {
		x.gives, x.takes = append(x.gives, c.gives...), append(x.takes, c.takes...)
	}
}

// settle finds the values that go from row to row, and reports whether there are any.
func (x *exchange) settle() bool {
	x.parked = map[uint64]bool{}
	slices.Sort(x.gives)
	slices.Sort(x.takes)
	for i, h := range x.gives {
		if i > 0 && x.gives[i-1] == h || i+1 < len(x.gives) && x.gives[i+1] == h {
			continue
		}
		if at, ok := slices.BinarySearch(x.takes, h); ok && (at+1 == len(x.takes) || x.takes[at+1] != h) {
			x.parked[h] = true
		}
	}
	x.gives, x.takes = nil, nil
	return len(x.parked) > 0
}

// park returns the update that comes before all others of the table and takes away from e's
// row what another row takes, or nil.
func (x *exchange) park(e *change.Entry) *change.Entry {
	first := change.Entry{Op: change.Update, Table: e.Table, HasRowID: e.HasRowID, RowID: e.RowID, NewRowID: e.RowID, Key: e.Key}
	for _, c := range exchanged(e) {
		known := func(h uint64) bool { return x.parked[h] }
		if !slices.ContainsFunc(c.gives, known) || c.all && len(first.After) > 0 {
			continue
		}
		first.Before = append(first.Before, change.Column{Name: c.name, Value: c.before})
		first.After = append(first.After, change.Column{Name: c.name, Value: aside(c.before, e)})
	}
	if len(first.After) == 0 {
		return nil
	}
	return &first
}

// parkedKey makes e, the update of a row that park may have updated before, find the row: by
// the key that it has since.
func (x *exchange) parkedKey(e *change.Entry) {
	if e.HasRowID || e.Op != change.Update {
		return
	}
	first := x.park(e)
	if first == nil {
		return
	}
	e.Key = slices.Clone(e.Key)
	for i := range e.Key {
		if v := change.Find(first.After, e.Key[i].Name); v != nil {
			e.Key[i].Value = *v
		}
	}
}

// given is a value that an update changes.
type given struct {
	name         string // of the column
	before       change.Value
	gives, takes []uint64 // none for NULL, which is never the same as another one
	all          bool     // it stands for all columns that change
}

// exchanged returns what e changes besides a key of one column, which is the row's identity:
// see chain. The last of it is all of it.
func exchanged(e *change.Entry) (out []given) {
	var names string
	var before, after []byte
	for i := range e.After {
		name, is := e.After[i].Name, e.After[i].Value
		was := change.Find(e.Before, name)
		if was == nil || was.Same(&is) || !e.HasRowID && len(e.Key) == 1 && change.Find(e.Key, name) != nil {
			continue
		}
		c := given{name: name, before: *was}
		if was.Kind != change.Null {
			c.gives = []uint64{hash(name, change.AppendValue(nil, *was))}
		}
		if is.Kind != change.Null {
			c.takes = []uint64{hash(name, change.AppendValue(nil, is))}
		}
		out = append(out, c)
		names += name + "\x00"
		before, after = change.AppendValue(before, *was), change.AppendValue(after, is)
	}
	if len(out) > 1 {
		out = append(out, given{out[0].name, out[0].before, []uint64{hash(names, before)}, []uint64{hash(names, after)}, true})
	}
	return out
}

func hash(name string, value []byte) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name)) // never fails
	h.Write([]byte{0})
	h.Write(value)
	return h.Sum64()
}

// aside returns a value of v's storage class that no other row has, for e's row.
func aside(v change.Value, e *change.Entry) change.Value {
	identity := change.AppendInt(nil, e.RowID)
	for i := range e.Key {
		identity = change.AppendValue(identity, e.Key[i].Value)
	}
	h := hash(e.Table, change.AppendValue(identity, v))
	switch v.Kind {
	case change.Integer:
		return change.Value{Kind: change.Integer, Int: math.MinInt64 + int64(h>>2)}
	case change.Real:
		return change.Value{Kind: change.Real, Real: -float64(h>>11) * 1e200}
	case change.Blob:
		return change.Value{Kind: change.Blob, Bytes: fmt.Appendf(nil, "aside %016x", h)}
	}
	return change.Value{Kind: change.Text, Bytes: fmt.Appendf(nil, "aside %016x", h)}
}

// step moves e's row out of the way of one that takes its identity: it returns the update that
// does it, and makes e continue from there.
func step(e *change.Entry) *change.Entry {
	first := &change.Entry{Op: change.Update, Table: e.Table, HasRowID: e.HasRowID, RowID: e.RowID, Key: slices.Clone(e.Key)}
	if e.HasRowID {
		first.NewRowID = aside(change.Value{Kind: change.Integer, Int: e.RowID}, e).Int
		e.RowID = first.NewRowID
		return first
	}
	e.Key = slices.Clone(e.Key)
	for i := range e.Key {
		k := &e.Key[i]
		if to := change.Find(e.After, k.Name); to == nil || to.Same(&k.Value) {
			continue
		}
		v := aside(k.Value, e)
		first.Before = []change.Column{*k}
		first.After = []change.Column{{Name: k.Name, Value: v}}
		k.Value = v
		break
	}
	return first
}
