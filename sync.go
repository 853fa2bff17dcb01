package driftdb

import (
	"context"
	"time"

	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
)

// SnapshotInfo describes a snapshot in the bucket.
type SnapshotInfo struct {
	Key      string // of the object, within the store
	Sequence int64  // of the last change in it
	Time     time.Time
	Size     int64 // of the object, in bytes

	Faults []string // what was wrong with the database, as far as that was checked
}

func snapshotInfo(s remote.Snapshot) SnapshotInfo {
	return SnapshotInfo{Key: s.Key, Sequence: s.Sequence, Time: restore.TimeOf(s.Time), Size: s.Size, Faults: check.List(s.Faults)}
}

// Flush returns when everything committed before the call is in the bucket, and its
// manifest confirms it. It uses the network, even if sync is manual or stopped. In the
// function of a Tx, in OnEvent and in a Logger's handler it would wait for itself, and
// returns an error.
func (db *DB) Flush(ctx context.Context) error { return fail(db.engine.Flush(ctx)) }

// WaitSynced returns when the change with this number and all before it are in the bucket:
// every later restore has them, and so has every node that takes the database over. For
// what was just committed, pass [DB.Sequence], or the [Tx.Sequence] of a transaction. 0 is
// in every bucket; a number past the latest change is an error.
//
// It uses the network, and takes an upload and a small read, even if sync is manual or
// stopped. Calls share uploads, which begin at least [Config.SyncGap] apart; the manifest
// is not replaced for them, so [DB.Flush] costs more. A change that the log cannot
// describe, such as VACUUM, and all after it wait for a snapshot.
//
// While the bucket cannot be reached, WaitSynced waits until ctx ends; its error then also
// wraps that of the last attempt. An error that does not pass by itself it returns at
// once: [ErrFenced], [ErrDiverged], [ErrClosed] when the database is closed without having
// sent the change, or a refusal by the bucket (fs.ErrPermission). In either case the
// change is in the file, and is sent like any other. Where Flush would wait for itself,
// WaitSynced returns an error too.
//
// Changes that another node stored and no manifest confirms yet are not this node's to
// vouch for: WaitSynced then takes the database over, as a first change would.
//
// Two copies of a running machine, made by a snapshot of its memory, are the same writer
// until one of them replaces the manifest: what WaitSynced told the other one meanwhile
// ends up in a branch.
func (db *DB) WaitSynced(ctx context.Context, sequence int64) error {
	return fail(db.engine.WaitSynced(ctx, sequence))
}

// Snapshot stores a snapshot of everything committed before the call, and returns when
// the manifest names it. It uses the network, and free disk space of the size of the
// database. Without that space it continues more slowly, with a warning, and the WAL
// grows by what is written meanwhile. Writers are not held up. Where Flush would wait for
// itself, Snapshot returns an error too.
func (db *DB) Snapshot(ctx context.Context) (SnapshotInfo, error) {
	s, err := db.engine.Snapshot(ctx)
	if err != nil {
		return SnapshotInfo{}, fail(err)
	}
	return snapshotInfo(s), nil
}

// StartSync starts syncing in the background. It does nothing if sync is running already,
// or if there is no store.
func (db *DB) StartSync() { db.engine.StartSync() }

// StopSync stops syncing in the background: it interrupts a running upload, and returns
// when sync has stopped. Flush and Snapshot still work. In OnEvent and in a Logger's
// handler it returns at once, because sync may be waiting for them.
func (db *DB) StopSync() { db.engine.StopSync() }

// Metrics describe an open database. Counters start at Open.
//
// In JSON, the fields have lower camel case names, such as pendingChanges and
// dbSizeBytes. Durations are in seconds, and their names say so: oldestPendingAgeSeconds.
// Times are in RFC 3339, and an error is its text; a time or error that is not set is
// left out, and so are empty faults. Marshaled metrics can be unmarshaled again.
type Metrics struct {
	IsRunning      bool  // sync runs in the background
	PendingChanges int64 // committed, but not in the bucket
	TotalSynced    int64 // changes uploaded
	SyncErrors     int64 // rounds that failed

	LatestSequence    int64 // of the last committed change
	SyncedSequence    int64 // of the last one in the bucket
	ConfirmedSequence int64 // of the last one that the manifest names
	Barriers          int64 // commits with something that the log cannot describe; a snapshot follows each

	DBSizeBytes   int64 // of the file and its WAL
	WALSizeBytes  int64 // of the WAL alone; it grows while a read holds on to an old state of the file
	LogSizeBytes  int64 // of the change log within it
	BytesUploaded int64
	Requests      int64 // to the store, including retries

	LastSyncAt, LastSnapshotAt time.Time // zero: not since Open

	// OldestPendingAge is how long ago the oldest pending change was committed, by this
	// machine's clock; 0 if none is pending. While sync works, it stays below
	// SyncInterval plus the time an upload takes. Alert when it is higher: that much
	// would be lost with the disk.
	OldestPendingAge time.Duration

	// OldestRead is how long the oldest read of this program has been open: the function
	// of a ReadTx, a loop over rows, a sql.Rows or a reading sql.Tx of SQL(), or a
	// running statement; 0 if there is none. Until it ends, the WAL keeps everything that
	// is committed after it, and grows. Snapshots, and reads by other programs, are not
	// counted.
	OldestRead time.Duration

	// Mismatches counts the snapshots since Open whose tables differed from what the log
	// describes: a change was not captured, or the disk is failing. The events name the
	// tables. It should be 0.
	Mismatches int64

	// Faults is what is wrong with the database itself, as far as the newest snapshot was
	// checked: a NULL in a NOT NULL column, an index that lacks entries, a table that
	// this program cannot read. The backup has the same faults. It should be empty.
	Faults []string

	Fenced    bool  // another writer has taken over
	Behind    bool  // with ManualSync: the check at Open found that the bucket is ahead of the file
	LastError error // why writes are refused, or else the error of the last round; nil if it went well
}

// Metrics returns the current state. It reads the disk, and uses no network. If other reads
// have all of Config.MaxReaders for 2 s, LogSizeBytes and OldestPendingAge are from the last
// measurement.
func (db *DB) Metrics() Metrics {
	m := Metrics(db.engine.Metrics())
	m.LastError = fail(m.LastError)
	return m
}

// MarshalJSON implements [json.Marshaler]; [Metrics] describes the format.
func (m Metrics) MarshalJSON() ([]byte, error) { return engine.Metrics(m).MarshalJSON() }

// UnmarshalJSON implements [json.Unmarshaler]. An error keeps its text, but matches none
// of this package's errors.
func (m *Metrics) UnmarshalJSON(b []byte) error { return (*engine.Metrics)(m).UnmarshalJSON(b) }
