package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/writer"
)

// Flush returns when the manifest confirms everything committed before the call.
func (db *DB) Flush(ctx context.Context) error {
	if err := db.settled(ctx, "Flush"); err != nil {
		return err
	}
	return db.uplink.sync.Flush(ctx)
}

// WaitSynced returns when the bucket keeps the change with this number, whoever takes over.
func (db *DB) WaitSynced(ctx context.Context, sequence int64) error {
	if err := db.syncable("WaitSynced"); err != nil {
		return err
	}
	if last := db.Sequence(); sequence < 0 || sequence > last {
		return fmt.Errorf("WaitSynced: there is no change %d; the latest is %d", sequence, last)
	}
	return db.uplink.sync.WaitSynced(ctx, sequence)
}

// Snapshot stores a snapshot of everything committed before the call.
func (db *DB) Snapshot(ctx context.Context) (remote.Snapshot, error) {
	if err := db.settled(ctx, "Snapshot"); err != nil {
		return remote.Snapshot{}, err
	}
	return db.uplink.sync.Snapshot(ctx)
}

// CollectGarbage deletes objects that nothing needs any more.
func (db *DB) CollectGarbage(ctx context.Context) (objects int, bytes int64, err error) {
	if err := db.syncable("CollectGarbage"); err != nil {
		return 0, 0, err
	}
	return db.uplink.sync.Collect(ctx)
}

// settled makes the log include what other programs have committed, or returns an error if
// the call is not possible.
func (db *DB) settled(ctx context.Context, call string) error {
	if err := db.syncable(call); err != nil {
		return err
	}
	return db.writer.With(ctx, db.foreign.Notice)
}

// syncable returns an error if a call that waits for sync is not possible.
func (db *DB) syncable(call string) error {
	if err := db.waitsForItself(call); err != nil {
		return err
	}
	switch {
	case db.gate.IsShut():
		return writer.ErrClosed
	case db.onlyReads():
		return db.refusal()
	case db.uplink.sync == nil:
		return backup.ErrNoStore
	}
	return nil
}

// StartSync starts syncing in the background, if there is a store.
func (db *DB) StartSync() {
	if db.uplink.sync != nil && !db.gate.IsShut() {
		db.uplink.sync.Start()
	}
}

// StopSync stops syncing in the background. In an event handler it does not wait for sync
// to stop, because sync may be waiting for the handler.
func (db *DB) StopSync() {
	if db.uplink.sync == nil {
		return
	}
	stopped := db.uplink.sync.Halt()
	if !db.cfg.Log.Inside() {
		<-stopped
	}
}

// Metrics describe an open database; the root package's Metrics documents each field.
type Metrics struct {
	IsRunning      bool
	PendingChanges int64
	TotalSynced    int64
	SyncErrors     int64

	LatestSequence    int64
	SyncedSequence    int64
	ConfirmedSequence int64
	Barriers          int64

	DBSizeBytes   int64
	WALSizeBytes  int64
	LogSizeBytes  int64
	BytesUploaded int64
	Requests      int64

	LastSyncAt, LastSnapshotAt time.Time

	OldestPendingAge time.Duration
	OldestRead       time.Duration

	Mismatches int64
	Faults     []string

	Fenced    bool
	Behind    bool
	LastError error
}

// Metrics returns the current state.
func (db *DB) Metrics() Metrics {
	m := Metrics{LatestSequence: db.Sequence(), WALSizeBytes: sizeOf(db.path + "-wal")}
	m.DBSizeBytes = sizeOf(db.path) + m.WALSizeBytes
	m.OldestRead = db.conns.oldestRead()
	// Other errors are dropped: a closed database has no log to measure.
	log, err := db.measureLog(context.Background())
	if last := db.measured.Load(); errors.Is(err, context.DeadlineExceeded) && last != nil {
		log = *last
	}
	m.LogSizeBytes = log.Bytes
	if db.cfg.ReadOnly {
		return m
	}
	m.Barriers, m.LastError = db.foreign.Barriers(), db.hub.Refused()
	if db.uplink.sync == nil {
		return m
	}
	st := db.uplink.sync.Status()
	m.IsRunning, m.TotalSynced, m.SyncErrors = st.Running, st.Synced, st.Errors
	m.SyncedSequence, m.ConfirmedSequence = st.Acked, st.Confirmed
	m.PendingChanges = max(m.LatestSequence-st.Acked, 0)
	if log.Since != 0 {
		m.OldestPendingAge = max(time.Since(time.UnixMilli(log.Since)), 0)
	}
	m.LastSyncAt, m.LastSnapshotAt = st.LastSync, st.LastSnapshot
	m.Fenced, m.Behind, m.Mismatches, m.Faults = st.Fenced, st.Behind, st.Mismatches, st.Faults
	if m.LastError == nil {
		m.LastError = st.Err
	}
	m.BytesUploaded, m.Requests = db.uplink.meter.Bytes.Load(), db.uplink.meter.Requests.Load()
	return m
}

// History returns the source of the committed changes.
func (db *DB) History() history.Log {
	return history.Log{Read: db.readLog, Await: db.awaitChange, Bucket: db.uplink.bucket, Logger: db.cfg.Log}
}

// readLog runs fn on a connection in a read transaction.
func (db *DB) readLog(ctx context.Context, fn func(*sqlite.Conn) error) (err error) {
	l, err := db.conns.readers.Get(ctx)
	if err != nil {
		return err
	}
	defer db.conns.readers.Put(l, errReadDone)
	if err := l.Enter(); err != nil {
		return err
	}
	defer l.Leave()
	if err := l.Conn.Exec("BEGIN"); err != nil {
		return err
	}
	defer func() { err = db.gate.Explain(ctx, errors.Join(err, l.Conn.Exec("ROLLBACK"))) }()
	return fn(l.Conn)
}
