package capture

import (
	"errors"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// recorder gathers the changes of one connection's transaction and writes them
// into _driftdb_log within that transaction.
//
//	preupdate    appends an entry to the buffer; the first of a transaction enlists
//	             our virtual table.
//	xSync        of the last table that we enlisted writes the log row. SQLite
//	             calls it inside every commit, whatever started that commit.
//	commit hook  refuses a commit whose changes have not been written: capture
//	             fails closed.
//	xCommit      forgets the buffer. Not xSync: a COMMIT that found the file
//	             busy is tried again, maybe after a ROLLBACK TO.
//
// What each part knows is its own: the recorder says when, and ties them together.
type recorder struct {
	c      *sqlite.Conn
	id     uint64 // by which the module finds us
	shared *Shared
	own    ownStatements

	values    values    // the row that the hook is called for
	buffer    buffer    // the entries
	tables    tables    // what the entries refer to
	blobs     blobs     // incremental blob writes, not yet in the buffer
	sequences sequences // counters of AUTOINCREMENT
	vtabs     vtabs     // by which we take part in the transaction
	log       logTable  // where the entries go
	ownTables ownTables // whether DriftDB's tables are what they were
	versions  versions  // what a statement of the schema may move
	unlogged  unlogged  // commits without an entry
	cascade   cascade   // a mistake with foreign keys
	gate      gate      // whether a commit may be made

	// The transaction.
	cookie int64 // schema cookie when we joined it
	synced bool  // the log row is written, the commit is under way
	notice int64 // of the ledger, which one of the barriers answers
	fail   error // capture is broken: no commit

	samples *sampleRows // of sqlite_stat4 before a statement that runs now; nil: none runs that makes any
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

// failed notes an error without which capture could go on, and says whether it cannot.
func (r *recorder) failed(err error) bool {
	if err != nil && r.fail == nil {
		r.fail = err
	}
	return r.fail != nil
}

// mustRun runs a statement of our own without which capture cannot go on.
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

// join is called before a statement runs. A virtual table of the user's that
// joined the transaction behind us (FTS5) writes from its own xSync, so one of
// ours has to come after it.
func (r *recorder) join() {
	n := r.c.Joined()
	if n > 0 {
		r.joinPages()
	}
	if n == 0 && (r.vtabs.enlisted() || r.fail != nil) && r.c.Autocommit() {
		// Nobody told us of the transaction's end: our table was dropped in it,
		// or it failed before it took part. Within the transaction this state
		// has to stay, and keep it from being committed.
		r.reset()
	}
	if r.vtabs.behind(n) && (r.vtabs.enlisted() || !r.c.Autocommit()) {
		r.enlist()
	}
}

// joinPages puts a barrier into a transaction that writes pages through sqlite_dbpage.
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

// giveUp stops recording this transaction: a barrier stands for all of it.
func (r *recorder) giveUp(reason string) {
	r.buffer.giveUp(reason)
	r.blobs.reset()
}

func (r *recorder) savepoint(i int) {
	r.readBlobs()
	r.buffer.savepoint(i)
}

func (r *recorder) rollbackTo(i int) {
	r.tables.forgetShapes()
	r.blobs.reset() // they were written after the savepoint: none was open there
	r.buffer.rollbackTo(i)
}

func (r *recorder) reset() {
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

// flush writes the log row. It runs inside the commit, under the write lock,
// so that sequence numbers follow the order of commits.
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

// answer puts a barrier behind the transaction's changes if somebody else has
// committed since the last entry: they are what they say, but on top of
// something that the log does not have.
func (r *recorder) answer() {
	if r.unlogged.due() && !r.buffer.barred() {
		r.buffer.barrier(unloggedPages)
	}
	reason, notice := r.c.Missed()
	if notice == 0 {
		return
	}
	r.notice = notice
	if !r.buffer.barred() { // any other is an answer as well
		r.buffer.barrier(reason)
	}
}

// mayCommit is SQLite's commit hook; anything but 0 turns the commit into a
// rollback. It is called after every xSync, and also when nothing of ours takes
// part: the ledger has to know of every commit.
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
	r.reset()
}

// rolledBack is called by xRollback. Shapes that the transaction added are gone.
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
