package capture_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// TestRacingSchema changes the schema from four connections, whose compiled
// statements and cached schemas grow stale, and replays the log.
func TestRacingSchema(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		eachSeed(t, 6, 24, func(t *testing.T, seed uint64) {
			s, workers := racers(t, seed)
			var wg sync.WaitGroup
			for i, x := range workers {
				x.Rand = random(seed, uint64(i))
				wg.Go(func() {
					for range 60 {
						x.step()
					}
				})
			}
			wg.Wait()
			finish(t, s, workers)
		})
	})
	t.Run("in turn", func(t *testing.T) {
		eachSeed(t, 6, 24, func(t *testing.T, seed uint64) {
			s, workers := racers(t, seed)
			r := random(seed, 99)
			for range 200 {
				x := workers[r.IntN(len(workers))]
				x.Rand = r
				x.step()
			}
			finish(t, s, workers)
		})
	})
}

func racers(t *testing.T, seed uint64) (*source, []*racer) {
	s := newSource(t, 0)
	s.opts.KeepJournal = seed%4 == 0
	if s.opts.KeepJournal {
		db := s.pool(t)
		if _, err := db.Exec("PRAGMA journal_mode=DELETE"); err != nil {
			t.Fatal(err)
		}
		db.Close()
	} else {
		s.watch(t)
	}
	var out []*racer
	for range 4 {
		c, err := s.pool(t).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &racer{T: t, c: c, prepared: map[string]*sql.Stmt{}})
	}
	return s, out
}

func finish(t *testing.T, s *source, workers []*racer) {
	t.Helper()
	for _, x := range workers {
		for _, st := range x.prepared {
			st.Close()
		}
		x.c.Close()
	}
	s.mustEqual(t)
}

// racer makes one connection's random schema statements, most of which fail or
// do nothing.
type racer struct {
	*testing.T
	*rand.Rand
	c        *sql.Conn
	prepared map[string]*sql.Stmt
}

func (x *racer) exec(query string) {
	err := x.run(query)
	if err != nil && strings.Contains(err.Error(), "capture:") {
		x.Errorf("%s: %v", query, err)
	}
}

// run takes one of the ways a statement can come: as it is, prepared now, or
// prepared long ago.
func (x *racer) run(query string) error {
	ctx := context.Background()
	switch x.IntN(4) {
	case 0:
		st := x.prepared[query]
		if st == nil {
			var err error
			if st, err = x.c.PrepareContext(ctx, query); err != nil {
				return err
			}
			x.prepared[query] = st
		}
		_, err := st.ExecContext(ctx)
		return err
	case 1:
		rows, err := x.c.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		rows.Next()
		return rows.Close()
	}
	_, err := x.c.ExecContext(ctx, query)
	return err
}

func (x *racer) step() {
	switch x.IntN(5) {
	case 0:
		x.exec("BEGIN")
		for range 1 + x.IntN(4) {
			if x.IntN(5) == 0 {
				x.exec(pick(x.Rand, "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s"))
			}
			x.exec(x.statement())
		}
		x.exec(pick(x.Rand, "COMMIT", "COMMIT", "ROLLBACK"))
		x.exec("ROLLBACK")
	case 1:
		x.exec(x.statement() + "; " + x.statement() + ";" + x.statement())
	default:
		x.exec(x.statement())
	}
}

func (x *racer) table() string { return fmt.Sprint("t", x.IntN(6)) }

func (x *racer) statement() string {
	switch x.IntN(19) {
	case 0:
		return "CREATE TABLE " + x.table() + "(id INTEGER PRIMARY KEY, a)"
	case 1:
		return "CREATE TABLE IF NOT EXISTS " + x.table() + "(id INTEGER PRIMARY KEY, a, b DEFAULT 7)"
	case 2:
		return "DROP TABLE " + x.table()
	case 3:
		return "DROP TABLE IF EXISTS " + x.table()
	case 4:
		return fmt.Sprintf("ALTER TABLE %s ADD COLUMN c%d DEFAULT %d", x.table(), x.IntN(5), x.IntN(9))
	case 5:
		return fmt.Sprintf("ALTER TABLE %s RENAME TO %s", x.table(), x.table())
	case 6:
		return fmt.Sprintf("ALTER TABLE %s RENAME COLUMN a TO a%d", x.table(), x.IntN(3))
	case 7:
		return fmt.Sprintf("ALTER TABLE %s DROP COLUMN c%d", x.table(), x.IntN(5))
	case 8:
		return fmt.Sprintf("CREATE INDEX IF NOT EXISTS i%d ON %s(id)", x.IntN(4), x.table())
	case 9:
		return fmt.Sprintf("CREATE VIEW IF NOT EXISTS v%d AS SELECT * FROM %s", x.IntN(3), x.table())
	case 10:
		return fmt.Sprintf("DROP VIEW IF EXISTS v%d", x.IntN(3))
	case 11:
		return fmt.Sprintf("PRAGMA user_version=%d", x.IntN(100))
	case 12:
		return fmt.Sprintf("PRAGMA application_id=%d", x.IntN(100))
	case 13:
		return "CREATE TEMP TABLE IF NOT EXISTS " + x.table() + "(q)"
	case 14:
		return "DROP TABLE IF EXISTS temp." + x.table()
	case 15:
		return "CREATE TABLE IF NOT EXISTS " + x.table() + " AS SELECT * FROM " + x.table()
	case 16:
		return "/* c */ INSERT INTO " + x.table() + " SELECT * FROM " + x.table() + " WHERE 1" // not as whole records: see TestTraps
	}
	return fmt.Sprintf("INSERT INTO %s(id) VALUES(%d)", x.table(), x.IntN(1000))
}
