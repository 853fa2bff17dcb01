package telemetry

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/driftdb/driftdb-go"
)

// Board reads the metrics of sources, and adds them up. A sum of counters never goes down
// when a source goes: Prometheus and OpenTelemetry would take that for a restart, and count
// all the rest once more.
type Board struct {
	each bool             // a group for each name, and not one for all
	more iter.Seq[Source] // asked at each Read; nil: there are none

	mu    sync.Mutex
	fixed map[int]Source // those of Add
	next  int            // key in fixed
	seen  map[any]place  // by database or follower: where its counters count
	gone  map[string]row // of each group, the counters of sources that have gone
	left  map[any]place  // by weak pointer: what of gone is of a source that may come back
}

// place is where a source was read last.
type place struct {
	group string
	row   row
}

// Value is the value of a metric. It has none if no source has.
type Value struct {
	Number float64
	Is     bool
}

// row has a value for each of the metrics.
type row []Value

// Group has the values of the sources of one name, or of all.
type Group struct {
	Database string // the name; "" if all are in one
	Values   []Value
}

// NewBoard returns a board of the sources that more yields whenever it is read, and of
// those that are added. With each, sources of different names are kept apart.
func NewBoard(each bool, more iter.Seq[Source]) *Board {
	return &Board{each: each, more: more, fixed: map[int]Source{}, seen: map[any]place{}, gone: map[string]row{}, left: map[any]place{}}
}

// Add adds a source until remove is called.
func (b *Board) Add(s Source) (remove func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := b.next
	b.next++
	b.fixed[key] = s
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.fixed, key)
	}
}

// Read returns the values of all groups, in the order of their names. What more yields,
// and Source.Verified, are called here and must not use the board.
func (b *Board) Read() []Group {
	b.mu.Lock()
	defer b.mu.Unlock()
	groups := map[string]row{}
	if !b.each {
		groups[""] = b.nothing()
	}
	now := map[any]place{}
	for s := range b.sources() {
		b.read(s, groups, now)
	}
	b.retire(now, groups)
	for group, values := range groups {
		merge(values, b.gone[group])
	}
	var out []Group
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, Group{name, groups[name]})
	}
	return out
}

// nothing is what a group of all sources has without any.
func (b *Board) nothing() row {
	values := make(row, len(metrics))
	for i := range metrics {
		values[i].Is = metrics[i].always
	}
	return values
}

func (b *Board) sources() iter.Seq[Source] {
	return func(yield func(Source) bool) {
		for _, key := range slices.Sorted(maps.Keys(b.fixed)) {
			if !yield(b.fixed[key]) {
				return
			}
		}
		if b.more != nil {
			b.more(yield)
		}
	}
}

// read adds the values of a source to those of its group. A database that comes twice
// counts once.
func (b *Board) read(s Source, groups map[string]row, now map[any]place) {
	group := ""
	if b.each {
		group = strings.ToValidUTF8(s.Name, "\uFFFD") // both Prometheus and OpenTelemetry take text only
	}
	if groups[group] == nil {
		groups[group] = make(row, len(metrics))
	}
	merge(groups[group], values(func(m *Metric) (float64, bool) { return m.ofSource.of(&s) }))
	for _, part := range s.parts() {
		if _, twice := now[part]; !twice {
			p := place{group, valuesOf(part)}
			now[part] = p
			merge(groups[group], p.row)
			b.comeBack(part, group)
		}
	}
}

// retire keeps the counters of sources that were in a group at the last Read, and are no
// more: what they have by now, since they may have counted on after it.
func (b *Board) retire(now map[any]place, groups map[string]row) {
	for part, last := range b.seen {
		if at, there := now[part]; there && at.group == last.group || groups[last.group] == nil {
			continue
		}
		if b.gone[last.group] == nil {
			b.gone[last.group] = make(row, len(metrics))
		}
		counters := valuesOf(part)
		for i := range metrics {
			counters[i].Is = counters[i].Is && metrics[i].Kind == Counter
		}
		merge(b.gone[last.group], counters)
		b.left[weakly(part)] = place{last.group, counters}
	}
	maps.DeleteFunc(b.gone, func(group string, _ row) bool { return groups[group] == nil })
	maps.DeleteFunc(b.left, func(part any, last place) bool { return b.gone[last.group] == nil || freed(part) })
	b.seen = now
}

// comeBack takes out of gone what a source counted before it went from this group: it has
// that itself again.
func (b *Board) comeBack(part any, group string) {
	key := weakly(part)
	last, ok := b.left[key]
	if !ok || last.group != group {
		return
	}
	for i, v := range last.row {
		if v.Is {
			b.gone[group][i].Number -= v.Number
		}
	}
	delete(b.left, key)
}

// weakly is a key for a database or a follower that does not keep it in memory.
func weakly(part any) any {
	if db, ok := part.(*driftdb.DB); ok {
		return weak.Make(db)
	}
	return weak.Make(part.(*driftdb.Follower))
}

// freed reports whether what a key stands for can never come back.
func freed(key any) bool {
	switch k := key.(type) {
	case weak.Pointer[driftdb.DB]:
		return k.Value() == nil
	case weak.Pointer[driftdb.Follower]:
		return k.Value() == nil
	}
	return true
}

// parts are the database and the follower of a source.
func (s *Source) parts() (parts []any) {
	if s.DB != nil {
		parts = append(parts, s.DB)
	}
	if s.Follower != nil {
		parts = append(parts, s.Follower)
	}
	return parts
}

// valuesOf reads a database or a follower.
func valuesOf(part any) row {
	switch p := part.(type) {
	case *driftdb.DB:
		now := p.Metrics()
		return values(func(m *Metric) (float64, bool) { return m.ofDB.of(&now) })
	case *driftdb.Follower:
		now := p.Metrics()
		return values(func(m *Metric) (float64, bool) { return m.ofFollower.of(&now) })
	}
	panic("telemetry: not a source")
}

func values(of func(*Metric) (float64, bool)) row {
	r := make(row, len(metrics))
	for i := range metrics {
		r[i].Number, r[i].Is = of(&metrics[i])
	}
	return r
}

// merge adds the values of more to those of into, as each metric demands.
func merge(into, more row) {
	for i, v := range more {
		switch at := &into[i]; {
		case !v.Is:
		case !at.Is:
			*at = v
		case metrics[i].Merge == Max:
			at.Number = max(at.Number, v.Number)
		case metrics[i].Merge == Min:
			at.Number = min(at.Number, v.Number)
		default:
			at.Number += v.Number
		}
	}
}
