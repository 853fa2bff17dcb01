package changelog

import (
	"errors"
	"fmt"
	"math"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Books are what the file knows of its bucket.
type Books struct {
	Acked     int64       // last sequence that the bucket has
	Chain     batch.Chain // after Acked
	Confirmed int64       // last sequence that a manifest names
	Barrier   int64       // last barrier among what the bucket has; 0: none
	Snapshot  int64       // sequence of the newest snapshot; -1: there is none
	// SnapshotBytes is the size of that snapshot, BytesSince that of the
	// batches stored after it.
	SnapshotBytes, BytesSince int64
	// Earliest is the smallest time (Unix ms) among the changes that the bucket has
	// behind the newest snapshot: NoTime if there are none, 0 if it is not known.
	// It may be too small, never too large.
	Earliest int64
	// Synced is 1 once the bucket has had a manifest of this file's. If it has none
	// then, this file may begin another backup.
	Synced int64
	// Manifest is the ETag of the manifest that a session of this file stored last.
	Manifest string
	// Group is the batch that the next session may put its own in the place of.
	Group Group
	// Silent is when the bucket did not answer, in Unix ms; 0: it has since.
	Silent int64
}

// Group is a small batch that is all that its session has stored. The log keeps what
// it holds, so that the next session can store one batch in its place.
type Group struct {
	Object string // its key; empty: there is none
	After  int64  // the sequence that it begins behind …
	Chain  batch.Chain
	Bytes  int64
}

// Kept is up to where the bucket's having the log lets it be trimmed.
func (b Books) Kept() int64 {
	if b.Group.Object != "" {
		return min(b.Confirmed, b.Group.After)
	}
	return b.Confirmed
}

// NoTime is the smallest time among no changes: later than any.
const NoTime = math.MaxInt64

// BarrierOpen says that no snapshot covers the last barrier: what the bucket
// has from there on does not count yet.
func (b Books) BarrierOpen() bool { return b.Barrier > max(b.Snapshot, 0) }

// The books' numbers in _driftdb_meta.
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

// Check reads what whoever opens the database goes by: were it found to be damaged
// later, something would have been written by then.
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

// Save takes jobs that are done off the queue, and writes the books that they lead
// to, and the digests next in the place of d. When it returns, all is on disk.
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

// Sync puts on disk what has been committed by now, where there is no room for a
// commit that would do so.
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

// commit runs fn in a transaction. The log's connection has synchronous=FULL,
// and a commit to a WAL puts every earlier one on disk with it: after that,
// power loss cannot take back anything that the bucket is about to get.
//
// If a sync has failed, by way of any connection, then the system may have given up what
// it was to write, and the next sync would not notice: all of it is written again first.
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

// trimStep bounds what one transaction of Trim deletes, so that a writer that
// waits for it does not notice.
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

// Strip drops our tables: what is left is the user's database alone. With
// secure_delete, so that nothing of the log stays in the free pages.
func Strip(c *sqlite.Conn) error {
	if err := c.Exec("PRAGMA secure_delete=ON"); err != nil {
		return err
	}
	return transact(c, func() error {
		return c.Exec(`DROP TABLE IF EXISTS main._driftdb_log; DROP TABLE IF EXISTS main._driftdb_shape;
			DROP TABLE IF EXISTS main._driftdb_queue; DROP TABLE IF EXISTS main._driftdb_digest; DROP TABLE IF EXISTS main._driftdb_meta`)
	})
}
