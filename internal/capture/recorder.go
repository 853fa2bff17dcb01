package capture

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// recorder gathers the changes of one connection's transaction and writes them
// into _driftdb_log within that transaction.
//
//	preupdate    appends an entry to buf; the first of a transaction enlists
//	             our virtual table.
//	xSync        of the last table that we enlisted writes the log row. SQLite
//	             calls it inside every commit, whatever started that commit.
//	commit hook  refuses a commit whose changes have not been written: capture
//	             fails closed.
//	xCommit      forgets the buffer. Not xSync: a COMMIT that found the file
//	             busy is tried again, maybe after a ROLLBACK TO.
type recorder struct {
	c   *sqlite.Conn
	hub *Hub
	id  uint64

	caps   []*sqlite.Stmt    // caps[i] enlists our i-th virtual table
	capsAt sqlite.SchemaMark // the schema for which there are enough of them
	st     statements
	absent uintptr // the sqlite3_value that stands for a column which a record does not reach

	// The transaction.
	buf      []byte          // the newest of its changes …
	chunks   [][]byte        // … and those before; see buffer.go
	chunked  int             // bytes in chunks
	count    int64           // entries in all of these
	marks    []mark          // of the savepoints, outermost first
	level    int             // how many of caps are enlisted
	lastPos  int32           // length of db->aVTrans after the last of them joined
	used     []*table        // tables that buf refers to, by index
	blobs    blobs           // rows that incremental blob I/O changed, not yet in buf
	changed  map[string]bool // AUTOINCREMENT tables with entries in buf
	cookie   int64           // schema cookie when the transaction enlisted
	intact   int64           // schema cookie with which our own tables were seen to be as they should
	synced   bool            // the log row is written, the commit is under way
	logged   int64           // its sequence number, for a COMMIT that is tried again
	stamp    int64           // its time, as the clock said
	before   int64           // the time of the transaction before it
	over     bool            // a barrier stands for the whole transaction
	barriers int64           // among the entries …
	reason   string          // … and why the last one is there
	notice   int64           // of the ledger, which one of them answers
	fail     error           // capture is broken: no commit

	inside     bool // one of our own statements runs
	enlisting  bool
	making     map[string]bool // tables before a CREATE VIRTUAL TABLE that runs now
	outside    bool            // a statement of the schema that runs now does what a replay may not
	samples    *sampleRows     // of sqlite_stat4 before a statement that runs now; nil: none runs that makes any
	unsettled  bool            // a commit passed by without us …
	wrote      bool            // … and changed pages of main, maybe only those of counters …
	unlogged   bool            // … or others for certain: the next entry is a barrier
	keysStayed bool            // PRAGMA foreign_keys=OFF had no effect in this transaction …
	cascade    string          // … which then changed rows of this table on behalf of others
	ended      bool            // the connection is being taken away: no commit
	answering  bool            // the commit is a barrier of our own
	admitted   bool            // see Conn.Admit
	denied     error           // why a commit was refused just now: SQLite carries errors as text only

	virtual   map[string]bool   // main's virtual tables, by their names in upper case
	tables    map[string]*table // what we know of main's tables …
	tablesAt  sqlite.SchemaMark // … in this state of its schema
	own       string            // the definitions of our own …
	ownAt     sqlite.SchemaMark // … in this one …
	newest    int64             // … whose last row this is
	sequences sequences
	largest   int64 // how many pages main has had, as _driftdb_meta says; less, if that is not known
}

// mark is where a savepoint began.
type mark struct {
	len             int
	count, barriers int64
}

type statements struct {
	last, insert, remove        *sqlite.Stmt
	findShape, addShape         *sqlite.Stmt
	schemaV, userV, appV, owned *sqlite.Stmt
	newest, largest             *sqlite.Stmt
}

func (r *recorder) prepare() error {
	for _, s := range []struct {
		st **sqlite.Stmt
		q  string
	}{
		{&r.st.last, "SELECT sequence + count, time, schema FROM main._driftdb_log ORDER BY sequence DESC LIMIT 1"},
		{&r.st.insert, "INSERT OR REPLACE INTO main._driftdb_log(sequence, count, time, schema, data) VALUES(?1, ?2, ?3, ?4, ?5)"},
		{&r.st.remove, "DELETE FROM main._driftdb_log WHERE sequence = ?1"},
		{&r.st.findShape, "SELECT id FROM main._driftdb_shape WHERE def = ?1"},
		{&r.st.addShape, "INSERT INTO main._driftdb_shape(def) VALUES(?1)"},
		{&r.st.schemaV, "PRAGMA main.schema_version"},
		{&r.st.userV, "PRAGMA main.user_version"},
		{&r.st.appV, "PRAGMA main.application_id"},
		{&r.st.owned, "SELECT name || ' ' || coalesce(sql, '') FROM main.sqlite_schema WHERE rowid > ?1 AND tbl_name >= '_driftdb_' COLLATE NOCASE AND tbl_name < '_driftdb`' COLLATE NOCASE ORDER BY name"},
		{&r.st.newest, "SELECT max(rowid) FROM main.sqlite_schema"},
		{&r.st.largest, "INSERT INTO main._driftdb_meta(key, value) VALUES('largest', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value < excluded.value"},
	} {
		var err error
		if *s.st, err = r.c.Prepare(s.q); err != nil {
			return fmt.Errorf("capture: %w", err)
		}
	}
	r.hub.ownTables(r.version().owned)
	if r.fail != nil {
		return r.fail
	}
	return r.addCap()
}

// run steps one of our own statements. Nothing of it shows in
// last_insert_rowid(), changes() and total_changes().
func (r *recorder) run(st *sqlite.Stmt, row func(*sqlite.Stmt)) (rowid int64, err error) {
	err = r.unseen(func() error {
		for {
			more, err := st.Step()
			if err != nil {
				return fmt.Errorf("capture: %w", err)
			}
			if !more {
				rowid = r.c.LastRowID()
				return nil
			}
			if row != nil {
				row(st)
			}
		}
	})
	return rowid, err
}

// unseen calls fn, whose statements are ours and must not show.
func (r *recorder) unseen(fn func() error) error {
	shown, was := r.c.Counters(), r.inside
	r.inside = true
	err := fn()
	r.inside = was
	r.c.SetCounters(shown)
	return err
}

// mustRun is run for statements without which capture cannot go on.
func (r *recorder) mustRun(st *sqlite.Stmt, row func(*sqlite.Stmt)) {
	if _, err := r.run(st, row); err != nil && r.fail == nil {
		r.fail = err
	}
}

// enlist makes the next of our virtual tables part of the transaction.
func (r *recorder) enlist() {
	if r.level >= len(r.caps) {
		r.giveUp("more virtual tables took part in one transaction than were known when it began")
		return
	}
	if r.level == 0 {
		r.cookie = r.c.SchemaMark().Cookie
	}
	r.enlisting = true
	r.mustRun(r.caps[r.level], nil)
	r.enlisting = false
	r.level++
	r.lastPos = r.c.Joined()
}

// join is called before a statement runs. A virtual table of the user's that
// joined the transaction behind us (FTS5) writes from its own xSync, so one of
// ours has to come after it.
func (r *recorder) join() {
	n := r.c.Joined()
	if n > 0 {
		r.joinPages()
	}
	if n == 0 && (r.level > 0 || r.fail != nil) && r.c.Autocommit() {
		// Nobody told us of the transaction's end: our table was dropped in it,
		// or it failed before it took part. Within the transaction this state
		// has to stay, and keep it from being committed.
		r.reset()
	}
	if n > r.lastPos && (r.level > 0 || !r.c.Autocommit()) {
		r.enlist()
	}
}

// barrier notes that the transaction holds something that the log cannot say.
func (r *recorder) barrier(reason string) {
	r.buf = change.AppendBarrier(r.buf, reason)
	r.count++
	r.barriers++
	r.reason = reason
}

// trim keeps the buffer within the hub's limit.
func (r *recorder) trim() {
	r.chunk()
	if r.size()+r.blobs.size > r.hub.limit {
		r.giveUp(fmt.Sprintf("a transaction of more than %d MiB of changes", r.hub.limit>>20))
	}
}

// giveUp stops recording this transaction: a barrier stands for all of it.
func (r *recorder) giveUp(reason string) {
	if r.over {
		return
	}
	r.over, r.count, r.barriers = true, 0, 0
	r.dropChanges()
	r.marks = r.marks[:0]
	r.blobs.reset()
	r.barrier(reason)
}

func (r *recorder) reset() {
	r.dropChanges()
	r.count, r.marks, r.level, r.lastPos = 0, r.marks[:0], 0, 0
	r.used = r.used[:0]
	r.blobs.reset()
	r.synced, r.logged, r.stamp, r.before, r.over, r.fail, r.making = false, 0, 0, 0, false, nil, nil
	r.barriers, r.reason, r.notice = 0, "", 0
	r.keysStayed, r.cascade = false, ""
	r.sequences.edited, r.sequences.before = false, nil
	clear(r.changed)
}

var errUnwritten = errors.New("capture: the transaction's changes were not written to _driftdb_log")

// flush writes the log row. It runs inside the commit, under the write lock,
// so that sequence numbers follow the order of commits. The time is what the
// clock says: if that is wrong, no later transaction is dragged along.
func (r *recorder) flush() error {
	r.checkOwn()
	r.readBlobs()
	r.logSequences()
	if r.fail != nil {
		return r.fail
	}
	if r.denied = r.hub.mayCommit(r.count == 0 || r.answering || r.admitted); r.denied != nil {
		return r.denied
	}
	next, now, before, schema := int64(0), time.Now().UnixMilli(), int64(0), int64(-1)
	if r.mustRun(r.st.last, func(st *sqlite.Stmt) {
		next, before, schema = st.Int64(0), st.Int64(1), st.Int64(2)
	}); r.fail != nil {
		return r.fail
	}
	if schema < 0 {
		return errors.New("capture: _driftdb_log is empty; it has been tampered with, restore the database from its bucket")
	}
	if r.logged != 0 {
		next, now, before = r.logged, r.stamp, r.before // our row of the first try may be the last one
	}
	if schema != r.cookie && r.logged == 0 {
		r.giveUp("the schema was changed by a statement that was not captured")
	}
	r.answer()
	r.synced, r.before = true, before
	if r.count == 0 {
		if r.logged != 0 {
			r.st.remove.BindInt64(1, r.logged)
			r.mustRun(r.st.remove, nil)
		}
		return r.fail
	}
	if err := r.measure(); err != nil {
		return err
	}
	return r.write(next, now)
}

// measure notes how many pages main has now, if it never had as many, rounded up to a
// power of two, 1024 at least: so the note is seldom written. Here nothing has been taken off the file
// yet that auto_vacuum takes off in the commit. Whoever replays the transaction needs
// about as many.
func (r *recorder) measure() error {
	if r.c.PageCount() <= r.largest {
		return nil
	}
	r.largest = 1 << max(10, bits.Len64(uint64(r.c.PageCount()-1)))
	r.st.largest.BindInt64(1, r.largest)
	_, err := r.run(r.st.largest, nil)
	return err
}

var errTampered = errors.New("capture: another program has dropped or altered _driftdb_log or another of DriftDB's own tables, so nothing can be committed; restore the database from its bucket, or Detach the file to begin a new backup")

// checkOwn looks, whenever the schema has changed, whether our own tables are
// still what they were.
func (r *recorder) checkOwn() {
	if r.fail != nil || r.intact == r.cookie {
		return
	}
	own := r.owned()
	switch {
	case r.fail != nil:
	case own != r.hub.ownTables(own):
		r.fail = errTampered
	default:
		r.intact = r.cookie
	}
}

// owned is the definitions of our own tables and of what belongs to them. To find them
// the whole schema is read: once for each state of it that we have not followed.
func (r *recorder) owned() string {
	if now := r.c.SchemaMark(); now != r.ownAt {
		r.own = ""
		r.readOwned(0)
	}
	return r.own
}

// readOwned adds the definitions that lie behind row after of the schema.
func (r *recorder) readOwned(after int64) {
	r.st.owned.BindInt64(1, after)
	r.mustRun(r.st.owned, func(st *sqlite.Stmt) { r.own += st.Text(0) + ";" })
	r.mustRun(r.st.newest, func(st *sqlite.Stmt) { r.newest = st.Int64(0) })
	r.ownAt = r.c.SchemaMark() // which the statements have brought up to date
}

// follow keeps owned up to date after a statement, if it was before. A statement that
// makes something only adds rows at the end of the schema, unless the program may write
// the schema itself. So thousands of tables are made without reading each time those
// that are there.
func (r *recorder) follow(statement string) {
	if words(statement, 1)[0] == "CREATE" && !r.c.Has(sqlite.WriteSchema) && r.newest < lastSequentialRow {
		r.readOwned(r.newest)
	}
}

// lastSequentialRow is far below where SQLite begins to give rows numbers at random.
const lastSequentialRow = 1 << 40

// answer puts a barrier behind the transaction's changes if somebody else has
// committed since the last entry: they are what they say, but on top of
// something that the log does not have.
func (r *recorder) answer() {
	if r.unlogged && r.barriers == 0 {
		r.barrier(unloggedPages)
	}
	reason, notice := r.c.Missed()
	if notice == 0 {
		return
	}
	r.notice = notice
	if r.barriers == 0 { // any other is an answer as well
		r.barrier(reason)
	}
}

func (r *recorder) write(sequence, now int64) error {
	ids := make([]int64, len(r.used))
	for i, t := range r.used {
		if ids[i] = r.shapeID(t); r.fail != nil {
			return r.fail
		}
	}
	st := r.st.insert
	st.BindInt64(1, sequence)
	st.BindInt64(2, r.count)
	st.BindInt64(3, now)
	st.BindInt64(4, r.c.SchemaMark().Cookie)
	header := change.AppendHeader(make([]byte, 0, 32), ids)
	r.bindChanges(st, 5, header)
	_, err := r.run(st, nil)
	st.Clear()
	if err == nil {
		err = r.unseen(func() error { return r.fillRow(sequence, header) })
	}
	r.logged, r.stamp = sequence, now
	return err
}

// committed is called by xCommit.
func (r *recorder) committed() {
	r.c.Committed(r.notice)
	if r.barriers == 0 {
		r.reason = "" // that of a barrier which a ROLLBACK TO took back
	} else {
		r.unlogged = false
	}
	if r.cascade != "" {
		table := r.cascade
		r.hub.cascaded.Store(&table)
	}
	if r.synced && r.count > 0 {
		r.hub.timed(r.before, r.stamp)
		r.hub.committed(r.logged+r.count-1, r.size(), r.reason)
	}
	r.reset()
}

// rolledBack is called by xRollback. Shapes that the transaction added are gone.
func (r *recorder) rolledBack() {
	r.forgetShapes()
	r.largest = 0 // the note may be gone, too
	r.reset()
}

func (r *recorder) close() {
	for _, st := range append(r.caps,
		r.st.last, r.st.insert, r.st.remove, r.st.findShape, r.st.addShape,
		r.st.schemaV, r.st.userV, r.st.appV, r.st.owned, r.st.newest, r.st.largest, r.sequences.read) {
		if st != nil { // an Open that failed half way
			st.Finalize()
		}
	}
}
