package changelog

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Digests are the digests of the tables after Books.Acked, kept in _driftdb_digest. Known
// are those that this file knows, Told those that a reader of the bucket knows.
type Digests struct {
	Known, Told digest.Set
}

// Digests reads the digests.
func (l *Log) Digests() (Digests, error) {
	d := Digests{digest.Set{}, digest.Set{}}
	err := l.c.Each("SELECT name, sum, told FROM main._driftdb_digest", func(st *sqlite.Stmt) error {
		var sum digest.Sum
		if b := st.View(1); copy(sum[:], b) != len(sum) || len(b) != len(sum) {
			return fmt.Errorf("_driftdb_digest: the sum of table %q has %d bytes, not %d", st.Text(0), len(b), len(sum))
		}
		name := st.Text(0)
		d.Known[name] = sum
		if st.Int64(2) != 0 {
			d.Told[name] = sum
		}
		return nil
	})
	return d, err
}

// writeDigests writes the differences between next and d.
func writeDigests(c *sqlite.Conn, d, next Digests) error {
	for name := range d.Known {
		if _, stays := next.Known[name]; stays {
			continue
		}
		if err := bindRun(c, "DELETE FROM main._driftdb_digest WHERE name = ?1", func(st *sqlite.Stmt) { st.BindText(1, name) }); err != nil {
			return err
		}
	}
	for name, sum := range next.Known {
		was, known := d.Known[name]
		told, before := toldOf(next, name), toldOf(d, name)
		if known && was == sum && told == before {
			continue
		}
		err := bindRun(c, "INSERT INTO main._driftdb_digest(name, sum, told) VALUES(?1, ?2, ?3) ON CONFLICT(name) DO UPDATE SET sum = excluded.sum, told = excluded.told", func(st *sqlite.Stmt) {
			st.BindText(1, name)
			st.BindBlob(2, sum[:])
			st.BindInt64(3, told)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// toldOf returns 1 if readers of the bucket know a table's current digest, else 0.
func toldOf(d Digests, name string) int64 {
	if sum, told := d.Told[name]; told && sum == d.Known[name] {
		return 1
	}
	return 0
}

func bindRun(c *sqlite.Conn, query string, bind func(*sqlite.Stmt)) error {
	st, err := c.Cached(query)
	if err != nil {
		return err
	}
	defer st.Release()
	bind(st)
	return st.Run()
}
