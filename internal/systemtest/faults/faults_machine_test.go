package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// machine is a disk with the database, and the process that has it open.
type machine struct {
	*world
	name  string
	cfg   driftdb.Config
	store *objstoretest.Faulty
	db    *driftdb.DB  // nil: not running
	epoch atomic.Int64 // of this run; 0: none yet
	death *death       // how this process dies, if it is to

	parent *machine // whose history it goes on with …
	from   int64    // … after this sequence
	states map[int64]state
	last   int64 // newest of states

	barriers []int64
	people   *driftdb.Repository[systemtest.Person]
	began    int  // when it was started first: the nth start of all
	lost     bool // the disk, or the history to another machine
	ended    int  // how many starts there had been then
}

// newMachine returns one with an empty disk.
func (w *world) newMachine() *machine {
	m := &machine{world: w, cfg: w.cfg, states: map[int64]state{}, name: fmt.Sprintf("node%d", len(w.machines)+1)}
	m.store = objstoretest.Break(w.bucket, nil)
	m.cfg.Store, m.cfg.Path, m.cfg.NodeID = m.store, w.newPath(), m.name
	m.cfg.OnEvent = func(e driftdb.Event) {
		if epoch, ok := e.Attrs["epoch"].(int64); ok && e.Kind == driftdb.EventEpochTaken {
			m.epoch.Store(epoch)
		}
		if id, ok := e.Attrs["branch"].(string); ok {
			w.branches.Store(id, branchKept{e.Attrs["to"].(int64), time.Now()})
		}
	}
	w.machines = append(w.machines, m)
	return m
}

// clone returns a machine with a copy of m's disk, which is not running.
func (m *machine) clone() *machine {
	c := m.newMachine()
	c.name += " (a clone of " + m.name + ")"
	c.cfg.NodeID, c.parent, c.from, c.last = m.cfg.NodeID, m, m.last, m.last
	c.states[0], _ = m.state(0)
	c.barriers = slices.Clone(m.barriers)
	if err := systemtest.CloneDisk(m.cfg.Path, c.cfg.Path); err != nil {
		m.fatal("%v", err)
	}
	m.note("%s is made", c)
	return c
}

func (m *machine) String() string { return m.name }

// state is what the database was after sequence, on this machine or on those
// whose history it goes on with.
func (m *machine) state(sequence int64) (state, bool) {
	for ; m != nil; m = m.parent {
		if s, known := m.states[sequence]; known {
			return s, true
		}
		if sequence > m.from {
			return state{}, false
		}
	}
	return state{}, false
}

// before is the last commit that is not after sequence; 0 if there is none.
func (m *machine) before(sequence int64) (int64, state) {
	for ; sequence > 0; sequence-- {
		if s, known := m.state(sequence); known {
			return sequence, s
		}
	}
	return 0, state{}
}

// continues says whether p lies in this machine's history. Two copies of a disk
// may have made the same change, each on its own; either one's counts.
func (m *machine) continues(p place) bool {
	if p.m == nil {
		return true
	}
	mine, known := m.state(p.sequence)
	there, _ := p.m.state(p.sequence)
	return known && p.sequence <= m.last && mine.dump == there.dump
}

// start opens the database. It returns false if that failed for a reason that
// it may fail for.
func (m *machine) start() bool {
	m.starts++
	m.epoch.Store(0)
	if m.began == 0 {
		m.began = m.starts
	}
	_, err := os.Stat(m.cfg.Path)
	restores, began := errors.Is(err, fs.ErrNotExist), time.Now()
	m.db, err = driftdb.Open(context.Background(), m.cfg)
	m.note("%s opens %s: %v", m, m.cfg.Path[strings.LastIndex(m.cfg.Path, "/")+1:], err)
	if err != nil {
		m.failed(err)
		return false
	}
	m.people = nil
	sequence := m.db.Sequence()
	dump, err := dbtest.Dump(m.cfg.Path)
	if err != nil {
		m.fatal("%v", err)
	}
	if _, known := m.state(0); sequence == 0 && !known {
		m.states[0] = state{dump, time.Now()}
	}
	if restores {
		m.restored(sequence, dump)
	} else {
		m.reopened(sequence, state{dump, began})
	}
	m.define()
	return m.db != nil
}

// define makes the tables that are not there yet.
func (m *machine) define() {
	if m.db.Sequence() == 0 { // the bucket may have got something since it was opened
		time.Sleep(time.Millisecond)
		m.claim()
	}
	if m.db.Sequence() == 0 { // no two databases begin alike
		m.files++
		m.exec(fmt.Sprintf("CREATE TABLE origin%d(x)", m.files))
	}
	for _, query := range []string{
		"CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY AUTOINCREMENT, v, w)",
		"CREATE TABLE IF NOT EXISTS k(a TEXT PRIMARY KEY, b) WITHOUT ROWID",
	} {
		m.exec(query)
	}
}

func (m *machine) exec(query string) {
	if m.db != nil {
		m.forwarded()
		_, err := m.db.Exec(context.Background(), query)
		m.wrote(query, err)
	}
}

// claim lets a machine that has to take the database over do so before it writes: that
// may bring it up to date. Errors are those of the write, too.
func (m *machine) claim() {
	if tx, err := m.db.SQL().BeginTx(context.Background(), nil); err == nil {
		_ = tx.Rollback()
	}
	m.forwarded()
}

// restored finds out whose history a new disk has got.
func (m *machine) restored(sequence int64, dump string) {
	m.last = sequence
	if sequence > 0 {
		m.parent, m.from = m.prove(sequence, dump), sequence
		m.note("%s goes on after %d of %s", m, sequence, m.parent)
	} else if m.sent.sequence > 0 && !m.spoilt.Load() {
		m.fatal("a new database, although %d was acknowledged", m.sent.sequence)
	}
}

// reopened compares what a file holds now with what it held before.
func (m *machine) reopened(sequence int64, now state) {
	left := m.last
	if m.death != nil {
		left = m.death.sequence
	}
	if m.fastForwarded(left, sequence, now) {
		return
	}
	if m.death == nil && sequence != m.last {
		m.fatal("%s closed at %d is at %d", m, m.last, sequence)
	}
	if m.death != nil && sequence < m.death.sequence {
		m.fatal("%s died at %d and is at %d", m, m.death.sequence, sequence)
	}
	if m.sent.m == m && sequence < m.sent.sequence {
		m.fatal("the disk of %s is at %d, but the bucket has acknowledged %d", m, sequence, m.sent.sequence)
	}
	was, known := m.state(sequence)
	if before, _ := m.state(sequence - 1); m.death != nil && was.dump != now.dump && before.dump == now.dump {
		// After a death a file cannot always be shown to be as we left it. Then
		// there is a barrier.
		was, known, m.states[sequence], m.world.barriers = now, true, now, true
		m.barriers = append(m.barriers, sequence)
	}
	if sequence > 0 && (!known || was.dump != now.dump) {
		m.fatal("%s at %d is not what it was:\n%s", m, sequence, dbtest.Diff(was.dump, now.dump))
	}
	m.death = nil
	for n := range m.states {
		if n > sequence { // committed after it had died
			delete(m.states, n)
		}
	}
	m.last = sequence
	m.barriers = slices.DeleteFunc(m.barriers, func(b int64) bool { return b > sequence })
}

// forwarded notices that a database that is open, and had nothing of its own, was
// brought up to date with the bucket.
func (m *machine) forwarded() {
	if m.db == nil || m.db.Sequence() == m.last {
		return
	}
	dump, err := dbtest.Dump(m.cfg.Path)
	if err != nil {
		m.fatal("%v", err)
	}
	death := m.death
	if was := m.last; !m.fastForwarded(was, m.db.Sequence(), state{dump, time.Now()}) {
		m.fatal("%s was at %d, and is at %d without a write", m, was, m.db.Sequence())
	}
	m.death = death
}

// fastForwarded says whether a file that had nothing of its own was brought up to
// date with the bucket.
func (m *machine) fastForwarded(was, sequence int64, now state) bool {
	if mine, known := m.state(sequence); !m.rivals() || sequence <= was || known && mine.dump == now.dump {
		return false
	}
	had, _ := m.state(was)
	for _, x := range m.machines {
		there, known := x.state(sequence)
		if before, _ := x.state(was); x == m || !known || there.dump != now.dump || before.dump != had.dump {
			continue
		}
		m.note("%s is fast-forwarded from %d to %d of %s", m, was, sequence, x)
		m.leaveHistory()
		m.parent, m.from, m.last, m.death = x, sequence, sequence, nil
		m.states, m.barriers = map[int64]state{}, slices.Clone(x.barriers)
		return true
	}
	return false
}

// leaveHistory hands what m has been so far to a machine that is no more: others
// may have gone on from there, even the one that m is about to go on from.
func (m *machine) leaveHistory() {
	old := &machine{
		world: m.world, name: m.name + " (before)", parent: m.parent, from: m.from, states: m.states, last: m.last,
		barriers: m.barriers, lost: true,
	}
	for _, x := range m.machines {
		if x.parent == m {
			x.parent = old
		}
	}
	if m.sent.m == m {
		m.world.sent.m = old
	}
	m.world.machines = append(m.world.machines, old)
}

// stop ends the process, without sending anything.
func (m *machine) stop() {
	if m.db == nil {
		return
	}
	m.forwarded()
	m.observe()
	m.note("%s stops", m)
	if err := m.db.Close(); err != nil {
		m.fatal("close: %v", err)
	}
	m.db = nil
}

// failed judges an error. A machine loses the database only to another one.
func (m *machine) failed(err error) {
	if m.death == nil && !m.expected(err) {
		m.fatal("%s: an error that nobody has injected: %v", m, err)
	}
	for _, is := range []error{driftdb.ErrFenced, driftdb.ErrDiverged} {
		if !errors.Is(err, is) {
			continue
		}
		if !m.rivals() && !m.spoilt.Load() {
			m.fatal("%s has lost the database to nobody: %v", m, err)
		}
		m.stop()
		m.lose()
		return
	}
}

// lose gives the machine up.
func (m *machine) lose() { m.lost, m.ended = true, m.starts }

// rivals says whether there has been another machine at the same time.
func (m *machine) rivals() bool {
	return slices.ContainsFunc(m.machines, func(x *machine) bool {
		return x != m && x.began > 0 && (!x.lost || x.ended >= m.began)
	})
}

// keep remembers what the database is after a commit.
func (m *machine) keep() {
	sequence := m.db.Sequence()
	if sequence == m.last {
		return
	}
	dump, err := dbtest.Dump(m.cfg.Path)
	if err != nil {
		m.fatal("%v", err)
	}
	m.states[sequence], m.last = state{dump, time.Now()}, sequence
}

// flush sends all. Unless it fails, all is safe.
func (m *machine) flush() {
	sequence := m.db.Sequence()
	err := m.db.Flush(context.Background())
	m.note("%s flush of %d: %v", m, sequence, err)
	m.forwarded()
	if err != nil {
		m.failed(err)
		return
	}
	m.acknowledged(m, sequence)
}

// waitSynced waits for a while until all is safe, without a manifest.
func (m *machine) waitSynced() {
	sequence := m.db.Sequence()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := m.db.WaitSynced(ctx, sequence)
	m.note("%s waits for %d: %v", m, sequence, err)
	for was := m.last; was != m.db.Sequence(); { // it may be brought up to date, which WaitSynced does not wait for
		was = m.db.Sequence()
		time.Sleep(10 * time.Second)
	}
	m.forwarded()
	switch {
	case err == nil:
		m.acknowledged(m, sequence)
	case !errors.Is(err, context.DeadlineExceeded):
		m.failed(err)
	}
}

func (m *machine) snapshot() {
	sequence := m.db.Sequence()
	info, err := m.db.Snapshot(context.Background())
	m.note("%s snapshot of %d: %d, %v", m, sequence, info.Sequence, err)
	m.forwarded()
	if err != nil {
		m.failed(err)
		return
	}
	m.acknowledged(m, max(sequence, info.Sequence))
}

// write commits something, in one of the many ways.
func (m *machine) write() {
	ctx := context.Background()
	m.claim()
	query, args := m.statement()
	var err error
	switch m.rnd.IntN(6) {
	case 0, 1:
		_, err = m.db.Exec(ctx, query, args...)
	case 2:
		_, err = m.db.SQL().ExecContext(ctx, query, args...)
	case 3:
		err = m.db.Tx(ctx, func(tx *driftdb.Tx) error {
			for range 1 + m.rnd.IntN(4) {
				if _, err := tx.Exec(ctx, query, args...); err != nil {
					return err
				}
				query, args = m.statement()
			}
			return nil
		})
	case 4:
		query = "repository"
		err = m.repository(ctx)
	case 5:
		query, args = m.ddl(), nil
		_, err = m.db.Exec(ctx, query)
	}
	m.wrote(query, err)
}

func (m *machine) wrote(query string, err error) {
	m.note("%s at %d: %.80s: %v", m, m.db.Sequence(), query, err)
	switch {
	case err == nil:
		m.keep()
	case errors.Is(err, driftdb.ErrFenced), errors.Is(err, driftdb.ErrDiverged):
		m.failed(err)
	default:
		m.fatal("%s: %s: %v", m, query, err)
	}
}

// statement changes rows. No two commits lead to the same database.
func (m *machine) statement() (string, []any) {
	m.files++
	word := fmt.Sprintf("%s %d %s", m, m.files, strings.Repeat("x", m.rnd.IntN(1<<m.rnd.IntN(10))))
	switch m.rnd.IntN(5) {
	case 0:
		return "UPDATE t SET v = ? WHERE id % 3 = ?", []any{word, m.rnd.IntN(3)}
	case 1:
		return "INSERT INTO k(a, b) VALUES(?1, ?2) ON CONFLICT(a) DO UPDATE SET b = ?2", []any{fmt.Sprint(m.rnd.IntN(9)), word}
	case 2:
		return "DELETE FROM t WHERE id = (SELECT max(id) - ? FROM t)", []any{m.rnd.IntN(4)}
	}
	return "INSERT INTO t(v, w) VALUES(?, ?)", []any{word, m.rnd.NormFloat64()}
}

func (m *machine) ddl() string {
	m.files++
	switch m.rnd.IntN(4) {
	case 0:
		return fmt.Sprintf("CREATE TABLE x%d AS SELECT * FROM t LIMIT 3", m.files)
	case 1:
		return fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d DEFAULT 'c'", m.files)
	case 2:
		return fmt.Sprintf("CREATE INDEX i%d ON k(b)", m.files)
	}
	return fmt.Sprintf("PRAGMA user_version = %d", m.files)
}

func (m *machine) repository(ctx context.Context) (err error) {
	if m.people == nil {
		if m.people, err = driftdb.Define[systemtest.Person](ctx, m.db, "people"); err != nil {
			return err
		}
		m.keep()
	}
	m.files++
	if m.one(3) {
		changed, err := m.people.Update(ctx, driftdb.All, driftdb.Set{"score": float64(m.files)})
		if err != nil || changed > 0 {
			return err
		}
	}
	// A new table that stayed empty would be alike on two machines.
	_, err = m.people.Create(ctx, systemtest.Person{Name: fmt.Sprint(m, m.files)})
	return err
}

// vacuum does what the log cannot describe. The state before it is one that no
// other machine has: VACUUM changes nothing that a dump tells.
func (m *machine) vacuum() {
	m.files++
	m.claim()
	if m.exec(fmt.Sprintf("CREATE TABLE vacuum%d(x)", m.files)); m.db == nil {
		return
	}
	last := m.last
	err := m.db.Vacuum(context.Background())
	m.world.barriers = true
	for n := last + 1; n <= m.db.Sequence(); n++ {
		m.barriers = append(m.barriers, n)
	}
	m.wrote("VACUUM", err)
}
