package capture

import (
	"errors"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// recorder collects the changes of one connection's transaction and writes them
// to _driftdb_log within that transaction.
//
//	preupdate    appends an entry to the buffer; the first entry of a transaction
//	             enlists our virtual table.
//	xSync        of the last table we enlisted writes the log row. SQLite calls
//	             it inside every commit, no matter what started the commit.
//	commit hook  refuses a commit whose changes have not been written: capture
//	             fails closed.
//	xCommit      clears the buffer. xSync must not, because a COMMIT that found
//	             the file busy may be retried, possibly after a ROLLBACK TO.
//
// Each part keeps its own state; the recorder decides when to call the parts and
// connects them.
type recorder struct {
	c      *sqlite.Conn
	id     uint64 // by which the module finds this recorder
	shared *Shared
	own    ownStatements

	values    values    // encodes the row that the hook is called for
	buffer    buffer    // the entries
	tables    tables    // the tables that the entries refer to
	blobs     blobs     // incremental blob writes, not yet in the buffer
	sequences sequences // AUTOINCREMENT counters
	vtabs     vtabs     // our virtual tables in the transaction
	log       logTable  // writes the log row
	ownTables ownTables // checks that DriftDB's own tables are unaltered
	versions  versions  // numbers that a schema statement may change
	unlogged  unlogged  // commits without an entry
	cascade   cascade   // detects a mistake with foreign keys
	gate      gate      // decides whether a commit is allowed
	reread    reread    // forgets a schema that was rolled back

	// The transaction.
	cookie int64 // schema cookie when we joined
	synced bool  // the log row is written and the commit is in progress
	notice int64 // the ledger's notice that one of the barriers answers
	fail   error // capture has failed; the transaction must not be committed

	// The rows of sqlite_stat4 before the running statement; nil unless that statement
	// makes statistics.
	samples *sampleRows
}

func newRecorder(c *sqlite.Conn, shared *Shared) *recorder {
	r := &recorder{c: c, id: recorderID.Add(1), shared: shared, own: ownStatements{c: c}}
	own := &r.own
	r.values = valuesOf(c)
	r.buffer = shared.buffer()
	r.tables = tables{c: c, own: own}
	r.blobs = blobs{c: c, own: own}
	r.sequences = sequences{c: c, own: own}
	r.vtabs = vtabs{c: c, own: own, id: r.id}
	r.log = logTable{c: c, own: own}
	r.ownTables = ownTables{c: c, own: own, shared: shared}
	r.versions = versions{own: own}
	r.unlogged = unlogged{c: c}
	r.cascade = cascade{c: c}
	r.gate = gate{c: c, shared: shared}
	return r
}

func (r *recorder) prepare() error {
	for _, prepare := range []func() error{r.tables.prepare, r.log.prepare, r.ownTables.prepare, r.versions.prepare} {
		if err := prepare(); err != nil {
			return err
		}
	}
	r.shared.ownTables(r.version().owned)
	if r.fail != nil {
		return r.fail
	}
	return r.vtabs.create()
}

// failed records an error that stops capture, and reports whether capture has failed.
func (r *recorder) failed(err error) bool {
	if err != nil && r.fail == nil {
		r.fail = err
	}
	return r.fail != nil
}

// mustRun runs one of our own statements; capture has failed if it fails.
func (r *recorder) mustRun(st *sqlite.Stmt, row func(*sqlite.Stmt)) {
	_, err := r.own.run(st, row)
	r.failed(err)
}

// enlist makes the next of our virtual tables part of the transaction.
func (r *recorder) enlist() {
	if r.vtabs.exhausted() {
		r.giveUp("more virtual tables took part in one transaction than were known when it began")
		return
	}
	if !r.vtabs.enlisted() {
		r.cookie = r.c.SchemaMark().Cookie
	}
	r.failed(r.vtabs.enlist())
}

// join is called before a statement runs. If one of the user's virtual tables has
// joined the transaction after ours, another one of ours must join after it: such
// a table (FTS5) writes from its own xSync.
func (r *recorder) join() {
	n := r.c.Joined()
	if n > 0 {
		r.joinPages()
	}
	if n == 0 && (r.vtabs.enlisted() || r.fail != nil) && r.c.Autocommit() {
		// The transaction has ended without a call to us: our table was dropped
		// in it, or capture failed before the table joined. While the transaction
		// is open, this state must stay, so that it cannot be committed.
		r.reset()
	}
	if r.vtabs.behind(n) && (r.vtabs.enlisted() || !r.c.Autocommit()) {
		r.enlist()
	}
}

// joinPages adds a barrier to a transaction that writes pages through sqlite_dbpage.
func (r *recorder) joinPages() {
	if r.buffer.barred() || !r.unlogged.writesPages() {
		return
	}
	r.begin()
	if !r.buffer.barred() {
		r.buffer.barrier(unloggedPages)
	}
}

// trim keeps the buffer within its limit.
func (r *recorder) trim() {
	if why := r.buffer.overflow(r.blobs.size()); why != "" {
		r.giveUp(why)
	}
}

// giveUp stops recording this transaction; one barrier stands for all of it.
func (r *recorder) giveUp(reason string) {
	r.buffer.giveUp(reason)
	r.blobs.reset()
}

func (r *recorder) savepoint(i int) {
	r.readBlobs()
	r.buffer.savepoint(i)
}

func (r *recorder) rollbackTo(i int) {
	r.reread.rolledBack()
	r.tables.forgetShapes()
	r.blobs.reset() // all were written after the savepoint: savepoint logs earlier ones
	r.buffer.rollbackTo(i)
}

// reset ends the transaction. If it was not committed, it was rolled back.
func (r *recorder) reset() {
	r.reread.rolledBack()
	r.reread.ended()
	r.buffer.reset()
	r.tables.reset()
	r.blobs.reset()
	r.sequences.reset()
	r.vtabs.reset()
	r.log.reset()
	r.cascade.reset()
	r.cookie, r.synced, r.notice, r.fail = 0, false, 0, nil
}

var errEmptyLog = errors.New("capture: _driftdb_log is empty; it has been tampered with, restore the database from its bucket")

// sync is called by xSync of our i-th virtual table.
func (r *recorder) sync(i int) error {
	if !r.vtabs.isLast(i) {
		return nil
	}
	err := r.flush()
	r.gate.noteInterrupt(err)
	return err
}

// flush writes the log row. It runs inside the commit, under the write lock, so
// sequence numbers follow the commit order.
func (r *recorder) flush() error {
	if r.failed(r.ownTables.check(r.cookie)) {
		return r.fail
	}
	r.readBlobs()
	if r.failed(r.sequences.log(&r.buffer)) {
		return r.fail
	}
	if err := r.gate.pass(r.buffer.empty()); err != nil {
		return err
	}
	end, err := r.log.end()
	if r.failed(err) {
		return r.fail
	}
	if end.schema < 0 {
		return errEmptyLog
	}
	if end.schema != r.cookie && !r.log.written() {
		r.giveUp("the schema was changed by a statement that was not captured")
	}
	r.answer()
	r.synced = true
	if r.buffer.empty() {
		r.failed(r.log.takeBack())
		return r.fail
	}
	if err := r.log.measure(); err != nil {
		return err
	}
	header, err := r.tables.appendHeader(make([]byte, 0, 32))
	if r.failed(err) {
		return r.fail
	}
	return r.log.write(end, &r.buffer, header)
}

// answer adds a barrier after the transaction's changes if another program has
// committed since the last entry: the changes are right, but they are based on a
// state that the log does not contain.
func (r *recorder) answer() {
	if r.unlogged.due() && !r.buffer.barred() {
		r.buffer.barrier(unloggedPages)
	}
	reason, notice := r.c.Missed()
	if notice == 0 {
		return
	}
	r.notice = notice
	if !r.buffer.barred() { // any other barrier is an answer, too
		r.buffer.barrier(reason)
	}
}

// mayCommit is SQLite's commit hook; any result but 0 turns the commit into a
// rollback. SQLite calls it after every xSync, and also when none of our tables
// has joined: the ledger must know of every commit.
func (r *recorder) mayCommit() int32 {
	switch {
	case r.gate.isShut(), r.fail != nil, !r.synced && (!r.buffer.empty() || r.vtabs.enlisted()):
		r.gate.noteInterrupt(r.fail)
		return 1
	case !r.vtabs.enlisted():
		r.unlogged.passed() // no row changed; INSERT OR IGNORE may have moved a counter: see After
	}
	r.c.Committing(r.notice)
	return 0
}

// committed is called by xCommit.
func (r *recorder) committed() {
	r.c.Committed(r.notice)
	if r.buffer.barred() {
		r.unlogged.answered()
	}
	r.cascade.committed(r.shared)
	r.log.committed(r.shared, &r.buffer)
	r.reread.ended()
	r.reset()
}

// rolledBack is called by xRollback. The shapes that the transaction added are gone.
func (r *recorder) rolledBack() {
	r.tables.forgetShapes()
	r.log.rolledBack()
	r.reset()
}

func (r *recorder) close() {
	r.vtabs.close()
	r.sequences.close()
	r.own.close()
}
