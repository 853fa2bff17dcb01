package driftdb

import (
	"log/slog"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
)

// Event is something that happened in the background.
type Event struct {
	Time    time.Time
	Level   slog.Level
	Kind    EventKind      // what happened; programs should use this
	Scope   EventScope     // where; the kind begins with it
	Message string         // for people; its wording may change
	Attrs   map[string]any // further details; took is a time.Duration that ends with the event
}

// EventScope is the part of DriftDB in which an event happened.
type EventScope string

// The scopes.
const (
	ScopeOpen       EventScope = "open"
	ScopeFollow     EventScope = "follow"  // of a Follower
	ScopeRekey      EventScope = "rekey"   // of a Backup
	ScopeRestore    EventScope = "restore" // by AutoRestore
	ScopeCapture    EventScope = "capture" // of changes, into the log
	ScopeCheckpoint EventScope = "checkpoint"
	ScopeClock      EventScope = "clock"
	ScopeSQLite     EventScope = "sqlite"
	ScopeSync       EventScope = "sync"
	ScopeVerify     EventScope = "verify" // of VerifyEvery
)

// EventKind says what happened. A later version may add kinds.
type EventKind string

// The kinds of events, by their scopes. A logger gets them as the attribute kind.
const (
	// EventAdopted: the file was made without DriftDB; before anything else, the bucket gets a snapshot of it.
	EventAdopted EventKind = "open.adopted"
	// EventFileAtRisk: the file is in a place where it may get damaged, such as a network drive.
	EventFileAtRisk EventKind = "open.file_at_risk"
	// EventFileOutdated: a database opened with ReadOnly could not be brought up to date.
	EventFileOutdated EventKind = "open.file_outdated"
	// EventFileReplaced: another file has taken the place of the one that was opened (ErrFileReplaced).
	EventFileReplaced EventKind = "open.file_replaced"
	// EventFilesSetAside: files beside the database did not belong to it, and were renamed.
	EventFilesSetAside EventKind = "open.files_set_aside"
	// EventLogUnreadable: a database opened with ReadOnly could not determine its last change.
	EventLogUnreadable EventKind = "open.log_unreadable"
	// EventWALLost: the -wal file is gone, and the last commits with it.
	EventWALLost EventKind = "open.wal_lost"

	// EventNothingToRestore: the bucket has no backup; a new database is created.
	EventNothingToRestore EventKind = "restore.nothing"
	// EventObjectsLeft: Rekey left objects that are encrypted with an older key, or not at all.
	EventObjectsLeft EventKind = "rekey.objects_left"
	// EventObjectsRefused: objects in the bucket are named like part of the backup, but are not part of it.
	EventObjectsRefused EventKind = "restore.objects_refused"
	// EventRestoreNeeded: the bucket is ahead of a file that has no changes of its own; the file is restored.
	EventRestoreNeeded EventKind = "restore.needed"
	// EventRestoreStarted: a restore starts.
	EventRestoreStarted EventKind = "restore.started"
	// EventRestored: a restore succeeded. Its attribute took says how long that took.
	EventRestored EventKind = "restore.finished"
	// EventSnapshotDamaged: a snapshot in the bucket is damaged. The restore could do
	// without it, but the backup needs a new one: see DB.Snapshot.
	EventSnapshotDamaged EventKind = "restore.snapshot_damaged"

	// EventBarrier: something happened that the log cannot describe; a snapshot follows.
	EventBarrier EventKind = "capture.barrier"
	// EventMarkerNotWritten: the clean-shutdown marker could not be written; the next Open takes a snapshot.
	EventMarkerNotWritten EventKind = "capture.marker_not_written"
	// EventForeignKeysOn: a PRAGMA foreign_keys=OFF inside a transaction had no effect.
	EventForeignKeysOn EventKind = "capture.foreign_keys_on"
	// EventForeignWrite: another program wrote to the file; a snapshot follows.
	EventForeignWrite EventKind = "capture.foreign_write"
	// EventForeignCheckFailed: the check for other programs' writes failed.
	EventForeignCheckFailed EventKind = "capture.foreign_check_failed"

	// EventCheckpointFailed: the WAL could not be copied into the file; it grows until that succeeds.
	EventCheckpointFailed EventKind = "checkpoint.failed"
	// EventLongRead: a read has been open for a long time; the WAL grows until it ends.
	EventLongRead EventKind = "checkpoint.long_read"

	// EventClockBehind: this machine's clock is behind the last change.
	EventClockBehind EventKind = "clock.behind"
	// EventClockDiffers: this machine's clock and the store's differ.
	EventClockDiffers EventKind = "clock.differs"

	// EventFollowFailed: a follower could not get or apply what the backup has; it is retried.
	// At level Error it will hardly pass by itself: see Follower.Err.
	EventFollowFailed EventKind = "follow.failed"
	// EventFollowRebased: a follower began again from a snapshot, because the log could not bring it up to date.
	EventFollowRebased EventKind = "follow.rebased"
	// EventFollowResumed: following works again after a failure.
	EventFollowResumed EventKind = "follow.resumed"
	// EventFollowStalled: a follower has made no progress for a minute.
	EventFollowStalled EventKind = "follow.stalled"

	// EventRollbackFailed: a transaction could not be rolled back.
	EventRollbackFailed EventKind = "sqlite.rollback_failed"

	// EventBackupBegun: the bucket lost what this file had sent; a new backup begins.
	EventBackupBegun EventKind = "sync.backup_begun"
	// EventBatchUploaded: changes were uploaded to the bucket. Its attribute took says how long that took.
	EventBatchUploaded EventKind = "sync.batch_uploaded"
	// EventBatchesMerged: small batches in the bucket were merged.
	EventBatchesMerged EventKind = "sync.batches_merged"
	// EventBranchStored: what a fenced session had not sent was stored in the bucket, as a branch.
	EventBranchStored EventKind = "sync.branch_stored"
	// EventBucketAhead: the bucket has changes that the file lacks.
	EventBucketAhead EventKind = "sync.bucket_ahead"
	// EventCaughtUp: the file has the bucket's latest changes.
	EventCaughtUp EventKind = "sync.caught_up"
	// EventComparisonFailed: Open could not compare the file with the bucket; sync keeps trying.
	EventComparisonFailed EventKind = "sync.comparison_failed"
	// EventDenied: the bucket refused the program's credentials or permissions.
	EventDenied EventKind = "sync.denied"
	// EventDigestMismatch: the contents of the file differ from what the log describes.
	EventDigestMismatch EventKind = "sync.digest_mismatch"
	// EventDiskFreed: the database's disk has free space again.
	EventDiskFreed EventKind = "sync.disk_freed"
	// EventDiskFull: the database's disk is full.
	EventDiskFull EventKind = "sync.disk_full"
	// EventDiverged: the file and the bucket have diverged (ErrDiverged): see Resolve.
	EventDiverged EventKind = "sync.diverged"
	// EventEpochRenewed: another program stored an object where the next batch belongs.
	EventEpochRenewed EventKind = "sync.epoch_renewed"
	// EventEpochTaken: from now on, this session writes to the bucket.
	EventEpochTaken EventKind = "sync.epoch_taken"
	// EventFaultsFound: SQLite's check found something wrong with the database.
	EventFaultsFound EventKind = "sync.faults_found"
	// EventFaultsGone: SQLite's check no longer finds anything wrong.
	EventFaultsGone EventKind = "sync.faults_gone"
	// EventFenced: another writer took over (ErrFenced).
	EventFenced EventKind = "sync.fenced"
	// EventFileMalformed: the file is damaged; no snapshot of it is stored.
	EventFileMalformed EventKind = "sync.file_malformed"
	// EventGarbageDeleted: objects that Retention no longer needs were deleted.
	EventGarbageDeleted EventKind = "sync.garbage_deleted"
	// EventHeartbeatFailed: a GET of Config.HeartbeatURL failed. Syncing is not affected.
	EventHeartbeatFailed EventKind = "sync.heartbeat_failed"
	// EventHeld: another node writes to the database, and RefuseTakeover is set.
	EventHeld EventKind = "sync.held"
	// EventLogGivenUp: the unsent log outgrew MaxLogBytes and was dropped; a snapshot follows.
	EventLogGivenUp EventKind = "sync.log_given_up"
	// EventLogUnbounded: the unsent log outgrew MaxLogBytes and could not be dropped.
	EventLogUnbounded EventKind = "sync.log_unbounded"
	// EventObjectRefused: an object in the bucket is named like a batch, but is not one.
	EventObjectRefused EventKind = "sync.object_refused"
	// EventRepairNeeded: the backup is damaged: see Repair.
	EventRepairNeeded EventKind = "sync.repair_needed"
	// EventSilenceNotNoted: Close could not record whether the bucket answers. Only a Logger gets it, at level Debug.
	EventSilenceNotNoted EventKind = "sync.silence_not_noted"
	// EventSnapshotStored: a snapshot was stored in the bucket. Its attribute took says how long that took.
	EventSnapshotStored EventKind = "sync.snapshot_stored"
	// EventSnapshotUncopied: there is no space for a copy of the file; the WAL grows until the snapshot is stored.
	EventSnapshotUncopied EventKind = "sync.snapshot_uncopied"
	// EventSyncFailed: sync failed for any other reason; it is retried. Like all events of rounds that failed, it has the attribute took.
	EventSyncFailed EventKind = "sync.failed"
	// EventSyncRecovered: sync works again after a failure.
	EventSyncRecovered EventKind = "sync.recovered"
	// EventTakenOver: this session took the database over from another node, which is fenced.
	EventTakenOver EventKind = "sync.taken_over"
	// EventTidyingFailed: merging or deleting objects failed; it is retried.
	EventTidyingFailed EventKind = "sync.tidying_failed"

	// EventVerified: a scheduled verification found that the backup can be restored.
	EventVerified EventKind = "verify.finished"
	// EventVerifyFailed: a scheduled verification found the backup damaged, or could not read it.
	EventVerifyFailed EventKind = "verify.failed"
)

// eventLogger returns the logger to which a database logs: see Config.Logger and OnEvent.
func eventLogger(log *slog.Logger, onEvent func(Event), name string) *slog.Logger {
	var call func(event.Event)
	if onEvent != nil {
		call = func(e event.Event) {
			onEvent(Event{Time: e.Time, Level: e.Level, Kind: EventKind(e.Kind), Scope: EventScope(e.Scope), Message: e.Message, Attrs: e.Attrs})
		}
	}
	return slog.New(event.Teller(log, call, name))
}
