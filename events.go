package driftdb

import (
	"log/slog"
	"time"
)

// Event is something that happened in the background.
type Event struct {
	Time    time.Time
	Level   slog.Level
	Kind    EventKind      // what happened: programs go by this
	Scope   EventScope     // where; the kind begins with it
	Message string         // for people; its wording may change
	Attrs   map[string]any // what else there is to know
}

// EventScope is the part of DriftDB in which an event happened.
type EventScope string

// The scopes.
const (
	ScopeOpen       EventScope = "open"
	ScopeRestore    EventScope = "restore"
	ScopeRekey      EventScope = "rekey"
	ScopeCapture    EventScope = "capture" // of changes, into the log
	ScopeCheckpoint EventScope = "checkpoint"
	ScopeClock      EventScope = "clock"
	ScopeSQLite     EventScope = "sqlite"
	ScopeSync       EventScope = "sync"
)

// EventKind says what has happened. A later version may have more kinds.
type EventKind string

// The kinds of events, by their scopes. A logger gets them as the attribute kind.
const (
	// EventAdopted: the file was made without DriftDB; the bucket gets a snapshot of it first.
	EventAdopted EventKind = "open.adopted"
	// EventFileAtRisk: the file is where it may come to harm, such as on a network drive.
	EventFileAtRisk EventKind = "open.file_at_risk"
	// EventFileOutdated: a database that only reads could not be brought up to date.
	EventFileOutdated EventKind = "open.file_outdated"
	// EventFileReplaced: another file is in the place of the one that was opened (ErrFileReplaced).
	EventFileReplaced EventKind = "open.file_replaced"
	// EventFilesSetAside: files beside the database did not belong to it, and were renamed.
	EventFilesSetAside EventKind = "open.files_set_aside"
	// EventLogUnreadable: a database that only reads could not find out its last change.
	EventLogUnreadable EventKind = "open.log_unreadable"
	// EventWALLost: the -wal is gone, and the last commits with it.
	EventWALLost EventKind = "open.wal_lost"

	// EventNothingToRestore: the bucket has no backup; a new database begins.
	EventNothingToRestore EventKind = "restore.nothing"
	// EventObjectsLeft: Rekey has left objects under an older key, or none.
	EventObjectsLeft EventKind = "rekey.objects_left"
	// EventObjectsRefused: the bucket has objects that are named like a part of the backup and are none.
	EventObjectsRefused EventKind = "restore.objects_refused"
	// EventRestoreNeeded: the bucket is ahead of a file that has nothing of its own; the file is restored.
	EventRestoreNeeded EventKind = "restore.needed"
	// EventRestoreStarted: a restore begins.
	EventRestoreStarted EventKind = "restore.started"
	// EventRestored: a restore has succeeded.
	EventRestored EventKind = "restore.finished"
	// EventSnapshotDamaged: a snapshot in the bucket is damaged. Something else made up for it, but the backup
	// needs a new one: see DB.Snapshot.
	EventSnapshotDamaged EventKind = "restore.snapshot_damaged"

	// EventBarrier: something happened that the log cannot say; a snapshot follows.
	EventBarrier EventKind = "capture.barrier"
	// EventMarkerNotWritten: the clean-shutdown marker could not be written; the next Open takes a snapshot.
	EventMarkerNotWritten EventKind = "capture.marker_not_written"
	// EventForeignKeysOn: a PRAGMA foreign_keys=OFF inside of a transaction did nothing.
	EventForeignKeysOn EventKind = "capture.foreign_keys_on"
	// EventForeignWrite: another program has written to the file; a snapshot follows.
	EventForeignWrite EventKind = "capture.foreign_write"
	// EventForeignCheckFailed: looking for writes of other programs failed.
	EventForeignCheckFailed EventKind = "capture.foreign_check_failed"

	// EventCheckpointFailed: the WAL could not be copied into the file, and grows until that works.
	EventCheckpointFailed EventKind = "checkpoint.failed"
	// EventLongRead: a read has been open for long, and the WAL grows until it ends.
	EventLongRead EventKind = "checkpoint.long_read"

	// EventClockBehind: this machine's clock is behind the last change.
	EventClockBehind EventKind = "clock.behind"
	// EventClockDiffers: this machine's clock and the store's differ.
	EventClockDiffers EventKind = "clock.differs"

	// EventRollbackFailed: a transaction could not be rolled back.
	EventRollbackFailed EventKind = "sqlite.rollback_failed"

	// EventBackupBegun: the bucket has lost what this file has sent; a new backup begins.
	EventBackupBegun EventKind = "sync.backup_begun"
	// EventBatchUploaded: changes are in the bucket.
	EventBatchUploaded EventKind = "sync.batch_uploaded"
	// EventBatchesMerged: small batches in the bucket were merged.
	EventBatchesMerged EventKind = "sync.batches_merged"
	// EventBranchStored: what a fenced session had not sent is in the bucket, as a branch.
	EventBranchStored EventKind = "sync.branch_stored"
	// EventBucketAhead: the bucket has changes that the file lacks.
	EventBucketAhead EventKind = "sync.bucket_ahead"
	// EventCaughtUp: the file has the bucket's latest changes.
	EventCaughtUp EventKind = "sync.caught_up"
	// EventComparisonFailed: Open could not compare the file with the bucket; sync goes on trying.
	EventComparisonFailed EventKind = "sync.comparison_failed"
	// EventDenied: the bucket has refused the program's credentials or rights.
	EventDenied EventKind = "sync.denied"
	// EventDigestMismatch: the file does not hold what the log says.
	EventDigestMismatch EventKind = "sync.digest_mismatch"
	// EventDiskFreed: there is room on the disk again.
	EventDiskFreed EventKind = "sync.disk_freed"
	// EventDiskFull: there is no room on the disk of the database.
	EventDiskFull EventKind = "sync.disk_full"
	// EventDiverged: the file and the bucket have diverged (ErrDiverged): see Resolve.
	EventDiverged EventKind = "sync.diverged"
	// EventEpochRenewed: somebody else has stored an object where the next batch belongs.
	EventEpochRenewed EventKind = "sync.epoch_renewed"
	// EventEpochTaken: this session writes to the bucket from now on.
	EventEpochTaken EventKind = "sync.epoch_taken"
	// EventFaultsFound: SQLite's check finds something wrong with the database.
	EventFaultsFound EventKind = "sync.faults_found"
	// EventFaultsGone: SQLite's check finds nothing wrong any more.
	EventFaultsGone EventKind = "sync.faults_gone"
	// EventFenced: another writer has taken over (ErrFenced).
	EventFenced EventKind = "sync.fenced"
	// EventFileMalformed: the file is damaged, and no snapshot of it is stored.
	EventFileMalformed EventKind = "sync.file_malformed"
	// EventGarbageDeleted: objects that Retention no longer needs were deleted.
	EventGarbageDeleted EventKind = "sync.garbage_deleted"
	// EventHeld: another node writes the database, and RefuseTakeover is set.
	EventHeld EventKind = "sync.held"
	// EventLogGivenUp: the unsent log had outgrown MaxLogBytes and was given up; a snapshot follows.
	EventLogGivenUp EventKind = "sync.log_given_up"
	// EventLogUnbounded: the unsent log has outgrown MaxLogBytes and could not be given up.
	EventLogUnbounded EventKind = "sync.log_unbounded"
	// EventObjectRefused: the bucket has an object that is named like a batch and is none.
	EventObjectRefused EventKind = "sync.object_refused"
	// EventRepairNeeded: the backup is damaged: see Repair.
	EventRepairNeeded EventKind = "sync.repair_needed"
	// EventSilenceNotNoted: Close could not note whether the bucket answers. Only a Logger gets it, at level Debug.
	EventSilenceNotNoted EventKind = "sync.silence_not_noted"
	// EventSnapshotStored: a snapshot is in the bucket.
	EventSnapshotStored EventKind = "sync.snapshot_stored"
	// EventSnapshotUncopied: there is no room for a copy of the file; the WAL grows until the snapshot is stored.
	EventSnapshotUncopied EventKind = "sync.snapshot_uncopied"
	// EventSyncFailed: sync failed for any other reason; it is tried again.
	EventSyncFailed EventKind = "sync.failed"
	// EventSyncRecovered: sync works again after a failure.
	EventSyncRecovered EventKind = "sync.recovered"
	// EventTakenOver: this session has taken the database over from another node, which is fenced.
	EventTakenOver EventKind = "sync.taken_over"
	// EventTidyingFailed: merging or deleting objects failed; it is tried again.
	EventTidyingFailed EventKind = "sync.tidying_failed"
)
