package vfs

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var (
	modelRounds = flag.Int("rounds", 6, "how many random histories are compared")
	modelSeed   = flag.Uint64("seed", 0, "the first one's seed; default a new one")
)

// TestSameAsPlain: random histories on two files, one over the platform's VFS and one over
// ours. After each statement the results are the same, and so are the frames of the WAL;
// and what is committed is in the file byte for byte as SQLite wrote it.
func TestSameAsPlain(t *testing.T) {
	first := *modelSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	rounds := *modelRounds
	if testing.Short() {
		rounds = min(rounds, 1)
	}
	for i := range uint64(rounds) {
		t.Run(fmt.Sprint(first+i), func(t *testing.T) {
			m := newModel(t, first+i)
			for range 150 {
				m.step()
			}
			m.finish()
		})
	}
	if ours.surprised.Load() {
		t.Error("SQLite announced frames that were not written")
	}
}

// model is a history that is under way: pairs of connections that do the same.
type model struct {
	t          *testing.T
	rnd        *rand.Rand
	paths      [2]string
	pairs      [][2]*conn
	inside     int // the pair with a transaction, or -1
	savepoints int
	spills     bool
	done       []string
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), inside: -1}
	dir := t.TempDir()
	page := 512 << m.rnd.IntN(8)
	level := []string{"OFF", "NORMAL", "FULL"}[m.rnd.IntN(3)]
	cache := []int{10, 50, 2000}[m.rnd.IntN(3)]
	m.spills = cache < 2000
	psow := m.rnd.IntN(2)
	limit := []int{-1, 0, 100_000}[m.rnd.IntN(3)]
	t.Logf("page size %d, synchronous %s, cache %d, psow %d, limit %d", page, level, cache, psow, limit)
	for range 1 + m.rnd.IntN(3) {
		var pair [2]*conn
		for i, vfs := range []string{plain, mirrored} {
			m.paths[i] = filepath.Join(dir, fmt.Sprint(i))
			pair[i] = connect(t, vfs, m.paths[i], fmt.Sprintf("psow=%d", psow), fmt.Sprintf("_pragma=page_size(%d)", page),
				"_pragma=journal_mode(WAL)", fmt.Sprintf("_pragma=synchronous(%s)", level),
				fmt.Sprintf("_pragma=cache_size(%d)", cache),
				fmt.Sprintf("_pragma=journal_size_limit(%d)", limit), "_pragma=cache_spill(20)", "_pragma=wal_autocheckpoint(200)")
		}
		m.pairs = append(m.pairs, pair)
	}
	m.do(0, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a, b); CREATE INDEX IF NOT EXISTS t_b ON t(b)")
	return m
}

func (m *model) step() {
	p := m.inside
	if p < 0 {
		p = m.rnd.IntN(len(m.pairs))
	}
	if m.inside < 0 && m.rnd.IntN(3) == 0 {
		m.inside, m.savepoints = p, 0
		m.do(p, "BEGIN IMMEDIATE")
		return
	}
	if m.inside >= 0 {
		switch n := m.rnd.IntN(12); {
		case n == 0:
			m.inside = -1
			m.do(p, "COMMIT")
			return
		case n == 1:
			m.inside = -1
			m.do(p, "ROLLBACK")
			return
		case n == 2:
			m.savepoints++
			m.do(p, fmt.Sprintf("SAVEPOINT s%d", m.savepoints))
			return
		case n < 5 && m.savepoints > 0:
			s := 1 + m.rnd.IntN(m.savepoints)
			m.savepoints = s - 1
			verb := "RELEASE"
			if n == 3 {
				verb, m.savepoints = "ROLLBACK TO", s
			}
			m.do(p, fmt.Sprintf("%s s%d", verb, s))
			return
		}
	}
	m.do(p, m.statement())
}

// statement is one that may run in a transaction and outside.
func (m *model) statement() string {
	rows := []int{1, 3, 40, 400}[m.rnd.IntN(4)]
	from, text := m.rnd.IntN(3000), m.rnd.IntN(300)
	mark := m.rnd.IntN(1000)
	series := fmt.Sprintf("WITH RECURSIVE n(i) AS (VALUES(%d) UNION ALL SELECT i+1 FROM n LIMIT %d)", from, rows)
	switch m.rnd.IntN(10) {
	case 0, 1, 2, 3:
		return fmt.Sprintf("%s INSERT OR REPLACE INTO t SELECT i, substr(hex(zeroblob(%d)), 1, %d)||i||'-%d', "+
			"i*%d %% 1000 FROM n", series, text, text, mark, mark)
	case 4, 5, 6:
		return fmt.Sprintf("UPDATE t SET a = a||'%d', b = %d WHERE id BETWEEN %d AND %d", mark, mark, from, from+rows)
	case 7:
		return fmt.Sprintf("DELETE FROM t WHERE id BETWEEN %d AND %d", from, from+rows)
	case 8:
		return fmt.Sprintf("%s INSERT INTO t SELECT i, '', 1 FROM n", series) // most of them fail, and are undone
	}
	if m.inside >= 0 {
		table := fmt.Sprintf("t%d", mark%5)
		return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s(a); INSERT INTO %s SELECT a FROM t WHERE b < %d", table, table, mark)
	}
	between := []string{
		"PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(FULL)", "PRAGMA wal_checkpoint(RESTART)",
		"PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA locking_mode=NORMAL; SELECT 1 FROM t",
	}
	if len(m.pairs) == 1 {
		between = append(between, "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=DELETE; PRAGMA journal_mode=WAL")
	}
	return between[m.rnd.IntN(len(between))]
}

// do does the same with both of a pair, and compares.
func (m *model) do(p int, script string) {
	m.t.Helper()
	m.done = append(m.done, fmt.Sprintf("%d: %s", p, script))
	var errs [2]error
	for i, c := range m.pairs[p] {
		errs[i] = c.try(script)
	}
	if fmt.Sprint(errs[0]) != fmt.Sprint(errs[1]) {
		m.fail("%v\n%v", errs[0], errs[1])
	}
	if m.inside < 0 {
		file := walFile(m.paths[1])
		a, _ := committed(m.t, walFile(m.paths[0]))
		b, end := committed(m.t, file)
		if !m.spills && !slices.Equal(a, b) { // the order in which a small cache spills its pages is not always the same
			m.fail("the WAL has %d frames and %d", len(a), len(b))
		}
		if should := shadowed.of(m.paths[1]); len(should) < end || !bytes.Equal(should[:end], file[:end]) {
			m.fail("the WAL's first %d bytes are not what was written", end)
		}
	}
	if m.rnd.IntN(8) == 0 {
		m.compare(m.rnd.IntN(len(m.pairs)))
	}
}

func (m *model) compare(p int) {
	m.t.Helper()
	const query = "SELECT count(*), sum(id), sum(length(a)), sum(b), group_concat(a, ',') FROM t ORDER BY id"
	if a, b := m.pairs[p][0].rows(query), m.pairs[p][1].rows(query); a != b {
		m.fail("the contents differ: %.100s\n%.100s", a, b)
	}
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf(format+"\nafter\n%s", append(args, m.done[max(0, len(m.done)-20):])...)
}

func (m *model) finish() {
	m.t.Helper()
	if m.inside >= 0 {
		m.do(m.inside, "COMMIT")
		m.inside = -1
	}
	for i := range m.pairs {
		m.compare(i)
		m.pairs[i][1].sound("at the end")
	}
}
