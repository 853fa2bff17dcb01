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
	ScopeRestore    EventScope = "restore" // by AutoRestore
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
	EventAdopted       EventKind = "open.adopted"         // a file that was made without DriftDB; the bucket gets a snapshot of it first
	EventFileAtRisk    EventKind = "open.file_at_risk"    // the file is where it may come to harm, such as on a network drive
	EventFileOutdated  EventKind = "open.file_outdated"   // a database that only reads could not be brought up to date
	EventFileReplaced  EventKind = "open.file_replaced"   // another file is in the place of the one that was opened: ErrFileReplaced
	EventFilesSetAside EventKind = "open.files_set_aside" // files beside the database did not belong to it
	EventWALLost       EventKind = "open.wal_lost"        // the -wal is gone, and the last commits with it

	EventNothingToRestore EventKind = "restore.nothing"        // the bucket has no backup; a new database begins
	EventObjectsPassed    EventKind = "restore.objects_passed" // objects that are named like a part of the backup are none
	EventRestoreNeeded    EventKind = "restore.needed"         // the bucket is too far ahead of a file that has nothing of its own
	EventRestoreStarted   EventKind = "restore.started"
	EventRestored         EventKind = "restore.finished"
	EventSnapshotDamaged  EventKind = "restore.snapshot_damaged" // something else made up for it; the backup needs a new one: see DB.Snapshot

	EventBarrier            EventKind = "capture.barrier"              // something happened that the log cannot say; a snapshot follows
	EventCloseNotNoted      EventKind = "capture.close_not_noted"      // the next Open cannot tell that the file is as it was left
	EventForeignKeysOn      EventKind = "capture.foreign_keys_on"      // a PRAGMA foreign_keys=OFF inside of a transaction did nothing
	EventForeignWrite       EventKind = "capture.foreign_write"        // another program has written to the file; a snapshot follows
	EventForeignWriteUnseen EventKind = "capture.foreign_write_unseen" // looking for such writes failed

	EventCheckpointFailed EventKind = "checkpoint.failed"    // the WAL grows until one succeeds
	EventLongRead         EventKind = "checkpoint.long_read" // the WAL grows until a read ends

	EventClockBehind  EventKind = "clock.behind"  // this machine's clock is behind the last change
	EventClockDiffers EventKind = "clock.differs" // this machine's clock and the store's differ

	EventRollbackFailed EventKind = "sqlite.rollback_failed"

	EventBackupBegun      EventKind = "sync.backup_begun"   // the bucket has lost what it had of this file
	EventBatchUploaded    EventKind = "sync.batch_uploaded" // changes are in the bucket
	EventBatchesMerged    EventKind = "sync.batches_merged"
	EventBranchStored     EventKind = "sync.branch_stored"     // what a session that was fenced had not sent
	EventBucketAhead      EventKind = "sync.bucket_ahead"      // of the file
	EventCaughtUp         EventKind = "sync.caught_up"         // the file is brought up to date with the bucket
	EventComparisonFailed EventKind = "sync.comparison_failed" // Open could not compare the file with the bucket
	EventDenied           EventKind = "sync.denied"            // the bucket has refused the program's credentials or rights
	EventDigestMismatch   EventKind = "sync.digest_mismatch"   // the file does not hold what the log says
	EventDiskFreed        EventKind = "sync.disk_freed"        // there is room on the disk again
	EventDiskFull         EventKind = "sync.disk_full"         // there is no room on the disk of the database
	EventDiverged         EventKind = "sync.diverged"          // ErrDiverged: see Resolve
	EventEpochRenewed     EventKind = "sync.epoch_renewed"     // somebody else has stored an object where the next batch belongs
	EventEpochTaken       EventKind = "sync.epoch_taken"       // this session writes the bucket from now on
	EventFaultsFound      EventKind = "sync.faults_found"      // SQLite's check finds something wrong with the database
	EventFaultsGone       EventKind = "sync.faults_gone"
	EventFenced           EventKind = "sync.fenced"            // ErrFenced: another writer has taken over
	EventFileMalformed    EventKind = "sync.file_malformed"    // the file is damaged: no snapshot of it is stored
	EventGarbageDeleted   EventKind = "sync.garbage_deleted"   // objects that Retention does not need
	EventHeld             EventKind = "sync.held"              // another node writes the database, and RefuseTakeover is set
	EventLogGivenUp       EventKind = "sync.log_given_up"      // it has outgrown MaxLogBytes; a snapshot follows
	EventLogUnbounded     EventKind = "sync.log_unbounded"     // it has, and could not be given up
	EventObjectPassed     EventKind = "sync.object_passed"     // an object that is named like a batch is none
	EventRepairNeeded     EventKind = "sync.repair_needed"     // the backup is damaged: see Repair
	EventSilenceNotNoted  EventKind = "sync.silence_not_noted" // Close could not note whether the bucket answers; at level Debug, so only for a Logger
	EventSnapshotStored   EventKind = "sync.snapshot_stored"
	EventSnapshotUncopied EventKind = "sync.snapshot_uncopied" // there is no room for a copy: the WAL grows until the snapshot is stored
	EventSyncFailed       EventKind = "sync.failed"            // for another reason; it is tried again
	EventSyncRecovered    EventKind = "sync.recovered"         // it works again
	EventTakenOver        EventKind = "sync.taken_over"        // from another node, which is fenced from now on
	EventTidyingFailed    EventKind = "sync.tidying_failed"    // merging or deleting; it is tried again
)
