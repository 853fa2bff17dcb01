package changelog

import (
	"errors"
	"fmt"
	"math"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Books record what the file knows about its bucket.
type Books struct {
	Acked     int64       // last sequence that the bucket has
	Chain     batch.Chain // after Acked
	Confirmed int64       // last sequence that a manifest confirms
	Barrier   int64       // last barrier that the bucket has; 0: none
	Snapshot  int64       // sequence of the newest snapshot; -1: none
	// SnapshotBytes is the size of that snapshot. BytesSince is the size of the batches
	// stored after it.
	SnapshotBytes, BytesSince int64
	// Earliest is the smallest time (Unix ms) among the changes that the bucket has after
	// the newest snapshot: NoTime if there are none, 0 if it is not known. It may be too
	// small, but never too large.
	Earliest int64
	// Synced is 1 once the bucket has had a manifest of this file. If that is gone, this
	// file may begin another backup.
	Synced int64
	// Manifest is the ETag of the manifest that a session of this file last stored.
	Manifest string
	// Group is the batch that the next session may replace.
	Group Group
	// Silent is when the bucket did not answer, in Unix ms; 0: it has answered since.
	Silent int64
}

// Group is a small batch, the only one that its session has stored. The log keeps its
// entries, so that the next session can replace it by a batch that holds them as well.
type Group struct {
	Object string      // its key; empty: none
	After  int64       // the sequence before its first entry
	Chain  batch.Chain // after that sequence
	Bytes  int64
}

// Kept returns the sequence up to which the log may be trimmed, because the bucket has it.
func (b Books) Kept() int64 {
	if b.Group.Object != "" {
		return min(b.Confirmed, b.Group.After)
	}
	return b.Confirmed
}

// NoTime stands for the smallest time among no changes: it is later than any time.
const NoTime = math.MaxInt64

// BarrierOpen reports whether no snapshot covers the last barrier: what the bucket has
// from there on cannot be restored yet.
func (b Books) BarrierOpen() bool { return b.Barrier > max(b.Snapshot, 0) }

// More of the books' numbers in _driftdb_meta.
const (
	metaBarrier       = "barrier"
	metaSnapshotBytes = "snapshot_bytes"
	metaBytesSince    = "bytes_since_snapshot"
	metaEarliest      = "earliest"
	metaSynced        = "synced"
	metaGroupAfter    = "group_after"
	metaGroupBytes    = "group_bytes"
	metaSilent        = "silent"
)

// The books' texts.
const (
	metaManifest    = "manifest"
	metaGroupObject = "group_object"
	metaGroupChain  = "group_chain"
)

func (b *Books) numbers() map[string]*int64 {
	return map[string]*int64{
		metaAcked: &b.Acked, metaConfirmed: &b.Confirmed, metaBarrier: &b.Barrier,
		metaSnapshot: &b.Snapshot, metaSnapshotBytes: &b.SnapshotBytes, metaBytesSince: &b.BytesSince, metaEarliest: &b.Earliest,
		metaSynced: &b.Synced, metaGroupAfter: &b.Group.After, metaGroupBytes: &b.Group.Bytes, metaSilent: &b.Silent,
	}
}

func (b *Books) texts() map[string]*string {
	return map[string]*string{metaManifest: &b.Manifest, metaGroupObject: &b.Group.Object}
}

func (b *Books) chains() map[string]*batch.Chain {
	return map[string]*batch.Chain{metaChain: &b.Chain, metaGroupChain: &b.Group.Chain}
}

// Check reads everything that opening the database depends on, so that damage is found
// before anything is written.
func Check(c *sqlite.Conn) error {
	l := View(c)
	_, books := l.Books()
	_, digests := l.Digests()
	_, last := Last(c)
	_, jobs := c.Int("SELECT count(*) FROM main._driftdb_queue WHERE status = 'processing'")
	return errors.Join(books, digests, last, jobs)
}

// Books reads the books.
func (l *Log) Books() (Books, error) {
	b := Books{}
	for key, to := range b.numbers() {
		n, err := metaInt(l.c, key)
		if err != nil {
			return b, err
		}
		*to = n
	}
	for key, to := range b.texts() {
		s, err := metaText(l.c, key)
		if err != nil {
			return b, err
		}
		*to = s
	}
	for key, to := range b.chains() {
		hex, err := metaText(l.c, key)
		if err == nil && (hex != "" || key == metaChain) {
			*to, err = batch.ParseChain(hex)
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// Save removes done jobs from the queue, and writes the resulting books and the digests
// next, which replace d. When it returns, all of it is on disk.
func (l *Log) Save(done []Job, b Books, d, next Digests) error {
	return l.commit(func() error {
		for _, j := range done {
			if err := l.drop(j); err != nil {
				return err
			}
		}
		if err := writeDigests(l.c, d, next); err != nil {
			return err
		}
		return writeBooks(l.c, b)
	})
}

// Sync syncs all earlier commits to disk, when the disk has no room for a commit that
// would do so.
func (l *Log) Sync() error {
	err := l.c.SyncWAL()
	l.c.SyncFailed(err)
	return err
}

func writeBooks(c *sqlite.Conn, b Books) error {
	for key, n := range b.numbers() {
		if err := setMeta(c, key, *n); err != nil {
			return err
		}
	}
	for key, s := range b.texts() {
		if err := setMeta(c, key, *s); err != nil {
			return err
		}
	}
	for key, chain := range b.chains() {
		if err := setMeta(c, key, chain.String()); err != nil {
			return err
		}
	}
	return nil
}

// commit runs fn in a transaction. The log's connection has synchronous=FULL, and a
// commit in WAL mode also syncs every earlier one. After that, a power loss cannot undo
// changes that are about to be uploaded.
//
// If a sync has failed on any connection, the operating system may have dropped the
// unwritten pages, and the next sync would not notice. So commit first writes them again.
func (l *Log) commit(fn func() error) error {
	err := transact(l.c, func() error {
		if err := l.c.MendWAL(); err != nil {
			return err
		}
		return fn()
	})
	l.c.SyncFailed(err)
	if sqlite.IsBypassed(err) {
		return fmt.Errorf("%s; the log must record that first: %w", sqlite.Bypassed, err)
	}
	return err
}

// trimStep bounds how many rows one transaction of Trim deletes, to keep the wait of
// other writers short.
const trimStep = 200

// Trim deletes log rows up to sequence to, a few at a time, and reports whether
// there are more. The newest row always stays.
func (l *Log) Trim(to int64) (more bool, err error) {
	err = l.commit(func() error {
		st, err := l.c.Cached(`DELETE FROM main._driftdb_log WHERE sequence IN (
			SELECT sequence FROM main._driftdb_log WHERE sequence <= ?1 AND sequence + count - 1 <= ?1
				AND sequence < (SELECT max(sequence) FROM main._driftdb_log) ORDER BY sequence LIMIT ?2)`)
		if err != nil {
			return err
		}
		defer st.Release()
		st.BindInt64(1, to)
		st.BindInt64(2, trimStep)
		err = st.Run()
		more = l.c.Changes() == trimStep
		return err
	})
	return more && err == nil, err
}

// Strip drops DriftDB's tables, and leaves only the user's database. It uses
// secure_delete, so that nothing of the log stays in the free pages. It changes nothing if
// what is left could not be read: SQLite would find that out at the next open, from the
// schema as it is on disk, not at the drop.
func Strip(c *sqlite.Conn) error {
	if err := c.Exec("PRAGMA secure_delete=ON"); err != nil {
		return err
	}
	return transact(c, func() error {
		return c.Exec(`DROP TABLE IF EXISTS main._driftdb_log; DROP TABLE IF EXISTS main._driftdb_shape;
			DROP TABLE IF EXISTS main._driftdb_queue; DROP TABLE IF EXISTS main._driftdb_digest; DROP TABLE IF EXISTS main._driftdb_meta;
			PRAGMA writable_schema=RESET; SELECT 1 FROM main.sqlite_schema`)
	})
}
