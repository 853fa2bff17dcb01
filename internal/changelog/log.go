package changelog

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrTrimmed means that the requested part of the log is no longer in the file.
var ErrTrimmed = errors.New("the log has been trimmed there")

// Log reads the log, and keeps the books of what the bucket has of it. It has a
// connection of its own.
type Log struct {
	c      *sqlite.Conn
	id     Identity
	shapes map[int64]*change.Shape
}

// Open returns the log of c's database. The Log takes ownership of c. Jobs that a crash
// interrupted become pending again.
func Open(c *sqlite.Conn) (*Log, error) {
	id, err := ReadIdentity(c)
	if err != nil {
		return nil, err
	}
	if err := c.Exec("UPDATE main._driftdb_queue SET status = 'pending' WHERE status = 'processing'"); err != nil {
		return nil, err
	}
	return &Log{c: c, id: id, shapes: map[int64]*change.Shape{}}, nil
}

// View returns the log of c's database for reading only. The caller keeps ownership of c.
func View(c *sqlite.Conn) *Log { return &Log{c: c, shapes: map[int64]*change.Shape{}} }

// Close closes the connection.
func (l *Log) Close() error { return l.c.Close() }

// Interrupt makes a running statement, or a wait for a lock, fail. It may be called on
// any goroutine.
func (l *Log) Interrupt() { l.c.Interrupt() }

// Watch interrupts running statements, and waits for a lock, when ctx ends. The caller
// must call stop when its statements are done.
func (l *Log) Watch(ctx context.Context) (stop func()) { return l.c.Watch(ctx) }

// Identity returns the file's identity.
func (l *Log) Identity() Identity { return l.id }

// Largest returns the most pages that the file has had at the commit of a logged
// transaction, rounded up, and the page size.
func (l *Log) Largest() (pages, pageSize int64, err error) {
	unpin, err := l.Pin()
	if err != nil {
		return 0, 0, err
	}
	defer unpin()
	if pages, err = metaInt(l.c, metaLargest); err != nil {
		return 0, 0, err
	}
	pageSize, err = l.c.Int("PRAGMA main.page_size")
	return max(pages, 1024), pageSize, err // pages is 0 before anything was logged
}

// begin writes the log's first row, whose entry is never read. It keeps the log from ever
// being empty, so that sequences never start again. With barrier, begin also appends a
// barrier.
func begin(c *sqlite.Conn, sequence, now int64, barrier bool) error {
	cookie, err := c.Int("PRAGMA main.schema_version")
	if err != nil {
		return err
	}
	if err := insert(c, sequence, now, cookie, change.AppendHeader(nil, nil)); err != nil || !barrier {
		return err
	}
	const reason = "the database was made without DriftDB"
	return insert(c, sequence+1, now, cookie, change.AppendBarrier(change.AppendHeader(nil, nil), reason))
}

// ExpectSchema records that the schema will have another number than it has now, though
// nothing else of it changes. The log has nothing but its first row.
func ExpectSchema(c *sqlite.Conn, cookie int64) error {
	return c.Exec(fmt.Sprintf("UPDATE main._driftdb_log SET schema=%d", cookie))
}

func insert(c *sqlite.Conn, sequence, now, cookie int64, data []byte) error {
	st, err := c.Prepare("INSERT INTO main._driftdb_log(sequence, count, time, schema, data) VALUES(?1, 1, ?2, ?3, ?4)")
	if err != nil {
		return err
	}
	defer st.Finalize()
	st.BindInt64(1, sequence)
	st.BindInt64(2, now)
	st.BindInt64(3, cookie)
	st.BindBlob(4, data)
	return st.Run()
}

// Last returns the sequence of the last entry.
func (l *Log) Last() (int64, error) {
	unpin, err := l.Pin()
	if err != nil {
		return 0, err
	}
	defer unpin()
	return Last(l.c)
}

// Pin begins a read transaction, unless one is open. Without one, SQLite recompiles a
// statement if another connection has changed the schema. If reading the schema of
// thousands of tables takes longer than the time between such changes, SQLite gives up
// with SQLITE_SCHEMA. Within a transaction the schema does not change.
func (l *Log) Pin() (unpin func(), err error) {
	if !l.c.Autocommit() {
		return func() {}, nil
	}
	if err := l.c.Do("BEGIN"); err != nil {
		return nil, err
	}
	return func() { _ = l.c.Rollback() }, nil // nothing was written
}

// Last returns the sequence of the last entry in the log of c's database.
func Last(c *sqlite.Conn) (int64, error) {
	st, err := c.Cached("SELECT sequence + count - 1 FROM main._driftdb_log ORDER BY sequence DESC LIMIT 1")
	if err != nil {
		return 0, err
	}
	defer st.Release()
	n := int64(-1)
	if err := st.Each(func(st *sqlite.Stmt) error { n = st.Int64(0); return nil }); err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, errors.New("_driftdb_log is empty; it has been tampered with, restore the database from its bucket")
	}
	return n, nil
}

// TimeAt returns the commit time of the transaction that ends at sequence. For sequence
// 0, before the first transaction, it returns 0.
func (l *Log) TimeAt(sequence int64) (at int64, err error) {
	if sequence == 0 {
		return 0, nil
	}
	unpin, err := l.Pin()
	if err != nil {
		return 0, err
	}
	defer unpin()
	st, err := l.c.Cached("SELECT time FROM main._driftdb_log WHERE sequence <= ?1 ORDER BY sequence DESC LIMIT 1")
	if err != nil {
		return 0, err
	}
	defer st.Release()
	st.BindInt64(1, sequence)
	err = st.Each(func(st *sqlite.Stmt) error { at = st.Int64(0); return nil })
	return at, err
}

// LastTime returns the commit time of the last transaction, in Unix milliseconds, by the
// clock of the node that committed it. An earlier transaction may have a later time.
func (l *Log) LastTime() (int64, error) {
	return l.c.Int("SELECT time FROM main._driftdb_log ORDER BY sequence DESC LIMIT 1")
}

// Earliest returns the smallest time (Unix ms) among the transactions after sequence
// after, up to sequence to. It returns NoTime if there are none, and 0 if some of them
// have been trimmed.
func (l *Log) Earliest(after, to int64) (int64, error) {
	if to <= after {
		return NoTime, nil
	}
	unpin, err := l.Pin()
	if err != nil {
		return 0, err
	}
	defer unpin()
	oldest, err := l.Oldest()
	if err != nil || oldest > after+1 {
		return 0, err
	}
	st, err := l.c.Cached("SELECT min(time) FROM main._driftdb_log WHERE sequence > ?1 AND sequence <= ?2")
	if err != nil {
		return 0, err
	}
	defer st.Release()
	st.BindInt64(1, after)
	st.BindInt64(2, to)
	earliest := int64(NoTime)
	err = st.Each(func(st *sqlite.Stmt) error { earliest = max(st.Int64(0), 0); return nil })
	return earliest, err
}

// Oldest returns the sequence of the oldest entry that the log still has. The row written
// by begin does not count.
func (l *Log) Oldest() (int64, error) {
	unpin, err := l.Pin()
	if err != nil {
		return 0, err
	}
	defer unpin()
	start, err := metaInt(l.c, metaStart)
	if err != nil {
		return 0, err
	}
	first, err := l.c.Int("SELECT min(sequence) FROM main._driftdb_log")
	return max(first, start+1), err
}

// Transaction is one row of the log.
type Transaction struct {
	First, Count int64
	Time         int64 // Unix milliseconds
	data         []byte
}

// Last returns the sequence of the transaction's last entry.
func (t Transaction) Last() int64 { return t.First + t.Count - 1 }

// Size returns the number of bytes that the transaction takes in the log.
func (t Transaction) Size() int { return len(t.data) }

// Containing returns the first sequence of the transaction that contains the entry
// sequence, or sequence itself if there is no such transaction yet.
func (l *Log) Containing(sequence int64) (int64, error) {
	st, err := l.c.Cached("SELECT sequence FROM main._driftdb_log WHERE sequence <= ?1 AND sequence + count > ?1 ORDER BY sequence DESC LIMIT 1")
	if err != nil {
		return 0, err
	}
	defer st.Release()
	st.BindInt64(1, sequence)
	first := sequence
	err = st.Each(func(st *sqlite.Stmt) error { first = st.Int64(0); return nil })
	return first, err
}

// Stop is returned by a callback of Each to end it early.
var Stop = errors.New("stop")

// eachChunk is how many bytes of the log Each reads at a time.
const eachChunk = 256 << 10

// Each calls fn for each transaction that starts at sequence from or later, in order. The
// transaction is valid until fn returns. ErrTrimmed means that from has been trimmed.
//
// No read transaction is open while fn runs, unless the caller has begun one. Otherwise
// making batches of a long log, which takes seconds, would keep the WAL from being reset,
// and writers would make it grow.
func (l *Log) Each(from int64, fn func(Transaction) error) error {
	return l.Between(from, math.MaxInt64, fn)
}

// Between is Each for transactions that begin at sequence to or before, so that it ends
// even if writers are faster than it is.
func (l *Log) Between(from, to int64, fn func(Transaction) error) error {
	var chunk []Transaction
	var data []byte
	for next := from; next <= to; {
		var err error
		if chunk, data, err = l.chunk(next, chunk[:0], data[:0]); err != nil || len(chunk) == 0 {
			return err
		}
		for _, t := range chunk {
			if t.First > to {
				return nil
			}
			if err := fn(t); errors.Is(err, Stop) {
				return nil
			} else if err != nil {
				return err
			}
			next = t.Last() + 1
		}
	}
	return nil
}

// chunk appends some transactions, from sequence next on, to chunk, and their contents to
// data.
func (l *Log) chunk(next int64, chunk []Transaction, data []byte) ([]Transaction, []byte, error) {
	unpin, err := l.Pin()
	if err != nil {
		return nil, nil, err
	}
	defer unpin()
	st, err := l.c.Cached("SELECT sequence, count, time, data FROM main._driftdb_log WHERE sequence >= ?1 ORDER BY sequence")
	if err != nil {
		return nil, nil, err
	}
	defer st.Release()
	st.BindInt64(1, next)
	err = st.Each(func(st *sqlite.Stmt) error {
		t := Transaction{First: st.Int64(0), Count: st.Int64(1), Time: st.Int64(2)}
		if t.First < next {
			return nil // Collapse has replaced it by a barrier
		}
		if t.First != next {
			return fmt.Errorf("%w: sequence %d was requested, %d is the oldest", ErrTrimmed, next, t.First)
		}
		next = t.Last() + 1
		begins := len(data)
		data = append(data, st.View(3)...)
		t.data = data[begins:]
		chunk = append(chunk, t)
		if len(data) >= eachChunk {
			return Stop
		}
		return nil
	})
	if errors.Is(err, Stop) {
		err = nil
	}
	return chunk, data, err
}

// Entries calls fn for each entry of t. The entry is valid until fn returns.
func (l *Log) Entries(t Transaction, fn func(sequence int64, e *change.Entry) error) error {
	return l.entries(new(change.Decoder), t, fn)
}

func (l *Log) entries(d *change.Decoder, t Transaction, fn func(sequence int64, e *change.Entry) error) error {
	seq := t.First
	err := d.Decode(t.data, l.shape, func(e *change.Entry) error {
		at := seq
		if seq += e.Width(); seq > t.Last()+1 {
			return fmt.Errorf("log row %d has more entries than the %d that it states", t.First, t.Count)
		}
		return fn(at, e)
	})
	if err != nil {
		return fmt.Errorf("log row %d: %w", t.First, err)
	}
	if seq != t.Last()+1 {
		return fmt.Errorf("log row %d has fewer entries than the %d that it states", t.First, t.Count)
	}
	return nil
}

func (l *Log) shape(id int64) (*change.Shape, error) {
	if s := l.shapes[id]; s != nil {
		return s, nil
	}
	unpin, err := l.Pin()
	if err != nil {
		return nil, err
	}
	defer unpin()
	st, err := l.c.Cached("SELECT def FROM main._driftdb_shape WHERE id = ?1")
	if err != nil {
		return nil, err
	}
	defer st.Release()
	st.BindInt64(1, id)
	var def string
	if err := st.Each(func(st *sqlite.Stmt) error { def = st.Text(0); return nil }); err != nil {
		return nil, err
	}
	s, err := change.ParseShape(def)
	if err != nil {
		return nil, fmt.Errorf("_driftdb_shape %d: %w", id, err)
	}
	l.shapes[id] = s
	return s, nil
}
