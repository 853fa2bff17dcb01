package capture

import (
	"bytes"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Statistics are logged as data: the result of ANALYZE depends on more than the contents
// of the tables, and a program may edit it. The rows of the statistics tables fire the
// hook like any others, except those that ANALYZE deletes from sqlite_stat4 and inserts
// into it. So that table is read before and after.

const sampleTable = "sqlite_stat4"

// makesStatistics reports whether a statement fills the statistics tables, which it may
// have to create first.
func makesStatistics(text string) bool {
	name, _ := pragma(text)
	return name == "OPTIMIZE" || words(text, 1)[0] == "ANALYZE"
}

// logStatistics logs the creation of the statistics tables. Its entry goes before their
// rows, which are in the buffer from start on.
func (r *recorder) logStatistics(start place) {
	end := r.buffer.end()
	r.logSchema("ANALYZE sqlite_schema", true) // makes the tables without any rows
	if !r.buffer.givenUp() && !r.buffer.move(end, start) {
		r.giveUp("more statistics than are kept in one piece")
	}
}

// aboutOurs reports whether the statistics row being changed is about one of our own
// tables. Such rows are not logged: they differ from file to file.
func (r *recorder) aboutOurs(op int32) bool {
	of := r.c.OldValue
	if op == lib.SQLITE_INSERT {
		of = r.c.NewValue
	}
	v := of(0)
	return v != 0 && strings.HasPrefix(valueText(r.c.TLS, v), ours)
}

// sampleRows holds the rows of sqlite_stat4, encoded as inserts and as deletes.
type sampleRows struct {
	inserts, deletes []byte
	count            int64
}

// readSamples reads sqlite_stat4 if it exists.
func (r *recorder) readSamples() *sampleRows {
	s := new(sampleRows)
	n := int64(0)
	if err := r.own.do(func() (err error) {
		n, err = r.c.Int("SELECT count(*) FROM main.sqlite_schema WHERE name = '" + sampleTable + "'")
		return err
	}); err != nil {
		r.fail = err
	}
	if n == 0 || r.fail != nil {
		return s
	}
	t, index, err := r.tables.find([]byte(sampleTable))
	if r.failed(err) {
		return s
	}
	st, err := r.c.Prepare("SELECT rowid, " + quoteAll(t.shape.Columns) + " FROM main." + sampleTable + " WHERE tbl NOT LIKE '" + `\_driftdb\_%' ESCAPE '\'` + " ORDER BY rowid")
	if err != nil {
		r.fail = err
		return s
	}
	defer st.Finalize()
	r.mustRun(st, func(st *sqlite.Stmt) {
		s.inserts = change.AppendInsert(s.inserts, index, &t.shape, st.Int64(0))
		s.deletes = change.AppendDelete(s.deletes, index, &t.shape, st.Int64(0))
		for i := range t.stored {
			v := lib.Xsqlite3_column_value(r.c.TLS, st.Handle(), int32(i+1))
			s.inserts = appendValue(r.c.TLS, s.inserts, v)
			s.deletes = appendValue(r.c.TLS, s.deletes, v)
		}
		s.count++
	})
	return s
}

// logSamples logs how a statement has changed sqlite_stat4, which held before.
func (r *recorder) logSamples(before *sampleRows) {
	after := r.readSamples()
	if r.buffer.givenUp() || r.fail != nil || bytes.Equal(before.inserts, after.inserts) {
		return
	}
	r.buffer.addSome(append(append(r.buffer.begin(), before.deletes...), after.inserts...), before.count+after.count)
	r.trim()
}
