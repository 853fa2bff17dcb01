package jsbucket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// batch is a log object:
//
//	{"version": 1, "nodeId": "…", "fromSequence": 1, "toSequence": 100, "entries": [
//	  {"sequence": 1, "timestamp": …, "table": "…", "operation": "insert", "data": {…}}, …]}
type batch struct {
	Version      int     `json:"version"`
	NodeID       string  `json:"nodeId"`
	FromSequence int64   `json:"fromSequence"`
	ToSequence   int64   `json:"toSequence"`
	Entries      []entry `json:"entries"`
}

// entry is one call of a repository. The data of an insert is the row, of an update
// {"where": …, "data": …}, and of a delete {"where": …}.
type entry struct {
	Sequence  int64           `json:"sequence"`
	Timestamp int64           `json:"timestamp"` // Unix milliseconds
	Table     string          `json:"table"`
	Operation string          `json:"operation"`
	Data      json.RawMessage `json:"data"`
}

// replay makes the changes after the snapshot again, each batch in one transaction.
func (j *job) replay() error {
	last := j.res.Base
	for _, s := range j.src.batches {
		last = max(last, s.to)
	}
	seen := j.overlaps()
	for _, s := range j.src.batches {
		if s.to <= j.res.Base || seen == nil && s.to <= j.res.Sequence {
			continue
		}
		if next := j.res.Sequence + 1; s.from > next {
			return gap(next, s.from-1, fmt.Sprintf("the next batch is %s", s.key))
		}
		b, err := j.open(s)
		if err != nil {
			return err
		}
		j.res.Batches++
		if err := seen.compare(s, b, j.res.Sequence); err != nil {
			return err
		}
		if err := j.apply(b); err != nil {
			return err
		}
		if j.opts.Progress != nil {
			j.opts.Progress(j.res.Sequence, last)
		}
	}
	if want := j.src.manifest.LatestLogSequence; j.src.node == j.src.manifest.NodeID && j.res.Sequence < want {
		return gap(j.res.Sequence+1, want, "the manifest says that they were stored")
	}
	return j.settle()
}

// open reads a batch, and checks that it is what its name says.
func (j *job) open(s span) (b batch, err error) {
	text, err := j.readBatch(s.key)
	if err != nil {
		return b, err
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %s", ErrDamaged, s.key, fmt.Sprintf(format, args...))
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, bad("%v", err)
	}
	switch {
	case b.Version != 1:
		return b, bad("it is version %d, and only version 1 is known", b.Version)
	case b.NodeID != j.src.node:
		return b, bad("it is of node %q", b.NodeID)
	case b.FromSequence != s.from || b.ToSequence != s.to:
		return b, bad("it holds changes %d to %d", b.FromSequence, b.ToSequence)
	case int64(len(b.Entries)) != s.to-s.from+1:
		return b, bad("it has %d changes, of %d", len(b.Entries), s.to-s.from+1)
	}
	for i, e := range b.Entries {
		if e.Sequence != s.from+int64(i) {
			return b, bad("change %d is missing", s.from+int64(i))
		}
	}
	return b, nil
}

// overlap remembers the changes that were replayed, where batches overlap. A program that
// was restored from a snapshot gives the numbers after it again, to other changes.
type overlap struct {
	seed maphash.Seed
	sums map[int64]uint64
	in   map[int64]string // the batch that a change was in
}

// overlaps returns nil if no two batches after the snapshot overlap.
func (j *job) overlaps() *overlap {
	end := j.res.Base
	for _, s := range j.src.batches {
		if s.to > j.res.Base && s.from <= end && end > j.res.Base {
			return &overlap{maphash.MakeSeed(), map[int64]uint64{}, map[int64]string{}}
		}
		end = max(end, s.to)
	}
	return nil
}

// compare fails if a change up to done was replayed with other contents.
func (o *overlap) compare(s span, b batch, done int64) error {
	if o == nil {
		return nil
	}
	for _, e := range b.Entries {
		sum := maphash.String(o.seed, fmt.Sprintf("%d %q %q %s", e.Timestamp, e.Table, e.Operation, e.Data))
		if have, ok := o.sums[e.Sequence]; ok && have != sum {
			return fmt.Errorf("%w: %s and %s contradict each other from change %d on: the program was restored from a snapshot and gave the same numbers again. "+
				"Move the batch that does not count out of the way, or take the snapshot only", ErrDamaged, o.in[e.Sequence], s.key, e.Sequence)
		}
		if e.Sequence > done {
			o.sums[e.Sequence], o.in[e.Sequence] = sum, s.key
		}
	}
	return nil
}

// apply makes the changes of a batch that are not there yet.
func (j *job) apply(b batch) error {
	if err := j.c.Exec("BEGIN"); err != nil {
		return err
	}
	for _, e := range b.Entries {
		if e.Sequence <= j.res.Sequence {
			continue
		}
		if err := j.change(e); err != nil {
			return errors.Join(err, j.c.Rollback())
		}
		j.res.Sequence, j.res.Time = e.Sequence, time.UnixMilli(e.Timestamp)
	}
	return j.c.Exec("COMMIT")
}

// change makes one change again.
func (j *job) change(e entry) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	t, err := j.table(e)
	if err != nil || t == nil {
		return err
	}
	var q query
	switch e.Operation {
	case "insert":
		q, err = j.insert(t, e)
	case "update":
		q, err = j.update(t, e)
	case "delete":
		q, err = j.remove(t, e)
	default:
		err = fmt.Errorf("the operation %q is not known", e.Operation)
	}
	switch _, disk := errors.AsType[*sqlite.Error](err); {
	case errors.Is(err, errLeftOut):
		return nil
	case disk, errors.Is(err, ErrUnclear):
		return err
	case err != nil:
		return fmt.Errorf("%w: change %d of table %q: %w", ErrDamaged, e.Sequence, e.Table, err)
	}
	changed, err := j.run(q)
	if se, ok := errors.AsType[*sqlite.Error](err); ok && se.Code == constraint {
		return j.unclear("change %d cannot be made: %s; something that is not in the log must have come before it", e.Sequence, se.Message)
	}
	if err != nil {
		return fmt.Errorf("change %d of table %q: %w", e.Sequence, e.Table, err)
	}
	if changed == 0 && e.Operation != "insert" { // an insert is logged whatever became of it
		return j.unclear("change %d (%s) finds no row in table %q: its rows were written by other SQL, which the package does not log", e.Sequence, e.Operation, e.Table)
	}
	return nil
}

// errLeftOut: the change cannot be made, and a note says so.
var errLeftOut = errors.New("the change is left out")

const constraint = 19 // SQLITE_CONSTRAINT

// query is a statement with its values.
type query struct {
	text   bytes.Buffer
	values []value
	loose  []bool // for each value: its column has no type that would make integers of numbers
}

func (q *query) bind(t *table, column string, v value) {
	q.values, q.loose = append(q.values, v), append(q.loose, t.columns[folded(column)])
}

func (j *job) run(q query) (changed int64, err error) {
	st, err := j.c.Cached(q.text.String())
	if err != nil {
		return 0, err
	}
	defer st.Release()
	for i, v := range q.values {
		v.bind(st, i+1, q.loose[i])
	}
	if err := st.Run(); err != nil {
		return 0, err
	}
	return st.Changes(), nil
}

func (j *job) insert(t *table, e entry) (q query, err error) {
	row, err := fields(e.Data)
	if err != nil {
		return q, err
	}
	if len(row) == 0 {
		return q, errors.New("the row has no columns")
	}
	if err := j.widen(t, e, row); err != nil {
		return q, err
	}
	fmt.Fprintf(&q.text, "INSERT INTO main.%s (", quote(e.Table))
	for i, f := range row {
		if i > 0 {
			q.text.WriteString(", ")
		}
		q.text.WriteString(quote(f.name))
		q.bind(t, f.name, f.value)
	}
	q.text.WriteString(") VALUES (?" + string(bytes.Repeat([]byte(", ?"), len(row)-1)) + ")")
	return q, nil
}

func (j *job) update(t *table, e entry) (q query, err error) {
	var data struct{ Where, Data json.RawMessage }
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return q, err
	}
	set, err := fields(data.Data)
	if err != nil {
		return q, err
	}
	if len(set) == 0 {
		return q, errors.New("the update sets no columns")
	}
	if err := j.widen(t, e, set); err != nil {
		return q, err
	}
	fmt.Fprintf(&q.text, "UPDATE main.%s SET ", quote(e.Table))
	for i, f := range set {
		if i > 0 {
			q.text.WriteString(", ")
		}
		q.text.WriteString(quote(f.name) + " = ?")
		q.bind(t, f.name, f.value)
	}
	return q, j.where(&q, t, e, data.Where)
}

func (j *job) remove(t *table, e entry) (q query, err error) {
	var data struct{ Where json.RawMessage }
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return q, err
	}
	fmt.Fprintf(&q.text, "DELETE FROM main.%s", quote(e.Table))
	return q, j.where(&q, t, e, data.Where)
}
