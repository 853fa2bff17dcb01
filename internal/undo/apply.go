package undo

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/statement"
)

// apply does what decide has noted. Triggers and foreign keys are off: what they did in the
// range is in the log, and is undone with it.
func (j *job) apply(ctx context.Context) error {
	for _, step := range []int{deletions, updates, insertions} {
		n := 0
		if err := j.net.c.Each(fmt.Sprintf("SELECT tbl, id, entry FROM todo WHERE step = %d ORDER BY last", step), func(st *sqlite.Stmt) error {
			if n++; n%1000 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return j.step(j.net.tables[st.Int64(0)], st.Blob(1), st.Blob(2))
		}); err != nil {
			return err
		}
	}
	if err := j.makeIndexes(ctx); err != nil {
		return err
	}
	if err := j.drop(ctx); err != nil {
		return err
	}
	if j.sql.count == 0 {
		return nil
	}
	return j.checkReferences(ctx)
}

// step does one noted step.
func (j *job) step(t *table, id, noted []byte) error {
	if v := j.layout.indexOf(t.name); v != nil && v.rebuild {
		return nil
	}
	e, err := t.address(id)
	if err != nil {
		return err
	}
	r := reader{b: noted[1:]}
	e.Op, e.After = change.Op(noted[0]), r.columns(&t.names)
	if r.err != nil {
		return r.err
	}
	j.res.Undone++
	err = j.do(&e)
	if e.Op == change.Update && sqlite.IsUnique(err) {
		j.res.Undone-- // it counts when it is inserted
		return j.setAside(t, id, &e)
	}
	if sqlite.IsUnique(err) {
		err = fmt.Errorf("table %s: another row has a value now that the row %s had: %w", t.name, text(e.Key, &e), err)
	}
	return err
}

// setAside deletes a row whose unique value another row still has, which may get its own
// value back later. The row is inserted again at the end.
func (j *job) setAside(t *table, id []byte, e *change.Entry) error {
	now, err := j.replay.Find(e)
	if err != nil {
		return err
	}
	target := image{exists: true, columns: now}
	target.set(e.After)
	gone := *e
	gone.Op, gone.After = change.Delete, nil
	if err := j.do(&gone); err != nil {
		return err
	}
	again := *e
	again.Op, again.After = change.Insert, target.columns
	return j.net.note(insertions, 0, t, id, &again)
}

// do makes one change.
func (j *job) do(e *change.Entry) error {
	if e.Op != change.Insert && !j.sql.full() {
		var err error
		if e.Before, err = j.replay.Find(e); err != nil {
			return err
		}
	}
	j.c.Before()
	if err := j.replay.Apply(e); err != nil {
		return err
	}
	return j.sql.add(func() (string, error) { return statement.SQL(e), nil })
}

// rebuilds decides which full-text indexes are made anew. An index that nothing has written
// since is taken back part by part, exactly. Otherwise its parts also hold what came later.
func (j *job) rebuilds() {
	written, undone := map[*virtual]bool{}, map[*virtual]bool{}
	for _, t := range j.net.tables {
		v := j.layout.indexOf(t.name)
		if v != nil {
			written[v] = written[v] || t.later
			undone[v] = undone[v] || t.some
		}
	}
	for _, v := range j.layout.virtual {
		about := j.net.byName[v.content]
		switch {
		case !v.fullText():
		case undone[v]:
			v.rebuild = written[v]
		case j.o.Table != "":
			v.rebuild = v.content != "" && about != nil && about.some
		}
	}
}

// makeIndexes makes full-text indexes anew from their contents.
func (j *job) makeIndexes(ctx context.Context) error {
	for _, v := range j.layout.virtual {
		if !v.rebuild {
			continue
		}
		name := sqlite.Quote(v.name)
		if err := j.run(ctx, "INSERT INTO "+name+"("+name+") VALUES('rebuild')"); err != nil {
			return fmt.Errorf("%w: the full-text index %s was changed since, and cannot be made anew: %w", ErrConflict, v.name, err)
		}
	}
	return nil
}
