package telemetry

import (
	"slices"
	"time"

	"github.com/driftdb/driftdb-go"
)

type (
	dbMetrics       = driftdb.Metrics
	followerMetrics = driftdb.FollowerMetrics
)

// metrics are all there are. docs/METRICS.md explains each of them, and a test compares.
var metrics = []Metric{
	{Name: "databases", Unit: Databases, Help: "Open databases.", always: true, ofDB: one(func(*dbMetrics) bool { return true })},
	{Name: "databases_syncing", Unit: Databases, Help: "Databases that sync in the background.", ofDB: one(func(m *dbMetrics) bool { return m.IsRunning })},
	{Name: "databases_failing", Unit: Databases, Help: "Databases that refuse writes, or whose last round of syncing failed.", ofDB: one(func(m *dbMetrics) bool { return m.LastError != nil })},
	{Name: "databases_fenced", Unit: Databases, Help: "Databases that another writer has taken over.", ofDB: one(func(m *dbMetrics) bool { return m.Fenced })},
	{Name: "databases_behind", Unit: Databases, Help: "Databases whose bucket was ahead of the file at Open, with ManualSync.", ofDB: one(func(m *dbMetrics) bool { return m.Behind })},

	{Name: "oldest_pending_age", Unit: Seconds, Merge: Max, Help: "How long ago the oldest change that is not in the bucket was committed; 0 if all are there.", ofDB: age(func(m *dbMetrics) time.Duration { return m.OldestPendingAge })},
	{Name: "pending_changes", Unit: Changes, Help: "Changes that are committed, and not in the bucket.", ofDB: number(func(m *dbMetrics) int64 { return m.PendingChanges })},
	{Name: "unconfirmed_changes", Unit: Changes, Help: "Changes that are committed, and not named by the manifest.", ofDB: number(unconfirmed)},
	{Name: "last_sync_timestamp", Unit: Unixtime, Merge: Max, Help: "When changes were last uploaded, since Open, in Unix time.", ofDB: moment(func(m *dbMetrics) time.Time { return m.LastSyncAt })},
	{Name: "last_snapshot_timestamp", Unit: Unixtime, Merge: Max, Help: "When a snapshot was last stored, since Open, in Unix time.", ofDB: moment(func(m *dbMetrics) time.Time { return m.LastSnapshotAt })},

	{Name: "synced_changes", Kind: Counter, Unit: Changes, Help: "Changes that were uploaded.", ofDB: number(func(m *dbMetrics) int64 { return m.TotalSynced })},
	{Name: "sync_errors", Kind: Counter, Unit: Rounds, Help: "Rounds of syncing that failed.", ofDB: number(func(m *dbMetrics) int64 { return m.SyncErrors })},
	{Name: "uploaded", Kind: Counter, Unit: Bytes, Help: "Bytes that were uploaded.", ofDB: number(func(m *dbMetrics) int64 { return m.BytesUploaded })},
	{Name: "store_requests", Kind: Counter, Unit: Requests, Help: "Requests to the store, including retries.", ofDB: number(func(m *dbMetrics) int64 { return m.Requests })},
	{Name: "barriers", Kind: Counter, Unit: Commits, Help: "Commits with something that the log cannot describe; a snapshot follows each.", ofDB: number(func(m *dbMetrics) int64 { return m.Barriers })},
	{Name: "digest_mismatches", Kind: Counter, Unit: Snapshots, Help: "Snapshots whose tables differed from the log; it should be 0.", ofDB: number(func(m *dbMetrics) int64 { return m.Mismatches })},
	{Name: "faults", Unit: Faults, Help: "What SQLite finds wrong with the databases themselves; it should be 0.", ofDB: number(func(m *dbMetrics) int64 { return int64(len(m.Faults)) })},

	{Name: "size", Unit: Bytes, Help: "Size of the files and their WALs.", ofDB: number(func(m *dbMetrics) int64 { return m.DBSizeBytes })},
	{Name: "wal_size", Unit: Bytes, Help: "Size of the WALs.", ofDB: number(func(m *dbMetrics) int64 { return m.WALSizeBytes })},
	{Name: "log_size", Unit: Bytes, Help: "Size of the logs of changes in the files.", ofDB: number(func(m *dbMetrics) int64 { return m.LogSizeBytes })},
	{Name: "oldest_read", Unit: Seconds, Merge: Max, Help: "How long the oldest read has been open; 0 if there is none.", ofDB: age(func(m *dbMetrics) time.Duration { return m.OldestRead })},

	{Name: "last_verify_timestamp", Unit: Unixtime, Merge: Min, Help: "When the backup was last verified with success, in Unix time; 0 for never. Of many backups, the one whose turn is longest ago.", ofSource: verified},

	{Name: "followers", Unit: Databases, Help: "Open followers.", always: true, ofFollower: one(func(*followerMetrics) bool { return true })},
	{Name: "followers_failing", Unit: Databases, Help: "Followers whose last poll failed.", ofFollower: one(func(m *followerMetrics) bool { return m.LastError != nil })},
	{Name: "followers_stalled", Unit: Databases, Help: "Followers that have not been able to follow for a minute.", ofFollower: one(func(m *followerMetrics) bool { return m.Stalled })},
	{Name: "follower_lag", Unit: Seconds, Merge: Max, Help: "How long ago the follower last had all that the manifest confirms.", ofFollower: age(func(m *followerMetrics) time.Duration { return m.Lag })},
	{Name: "follower_pending_changes", Unit: Changes, Help: "Changes that the manifest confirmed at the last poll, and that are not applied.", ofFollower: number(func(m *followerMetrics) int64 { return max(m.Confirmed-m.Sequence, 0) })},
	{Name: "follower_last_poll_timestamp", Unit: Unixtime, Merge: Min, Help: "When the store last answered the follower, in Unix time.", ofFollower: moment(func(m *followerMetrics) time.Time { return m.LastPoll })},
	{Name: "follower_last_applied_timestamp", Unit: Unixtime, Merge: Max, Help: "When changes were last applied, in Unix time.", ofFollower: moment(func(m *followerMetrics) time.Time { return m.LastApplied })},
	{Name: "follower_last_change_timestamp", Unit: Unixtime, Merge: Max, Help: "When the last applied change was made, by the clock of its writer, in Unix time.", ofFollower: moment(func(m *followerMetrics) time.Time { return m.LastChange })},
	{Name: "follower_polls", Kind: Counter, Unit: Requests, Help: "Requests for the manifest.", ofFollower: number(func(m *followerMetrics) int64 { return m.Polls })},
	{Name: "follower_unchanged_polls", Kind: Counter, Unit: Requests, Help: "Requests for the manifest that found the same one.", ofFollower: number(func(m *followerMetrics) int64 { return m.Unchanged })},
	{Name: "follower_store_requests", Kind: Counter, Unit: Requests, Help: "Requests of followers to the store, including retries.", ofFollower: number(func(m *followerMetrics) int64 { return m.Requests })},
	{Name: "follower_applied_batches", Kind: Counter, Unit: Batches, Help: "Batches that were applied.", ofFollower: number(func(m *followerMetrics) int64 { return m.Batches })},
	{Name: "follower_applied_changes", Kind: Counter, Unit: Changes, Help: "Changes that were applied.", ofFollower: number(func(m *followerMetrics) int64 { return m.Changes })},
	{Name: "follower_read", Kind: Counter, Unit: Bytes, Help: "Bytes that were read from the store.", ofFollower: number(func(m *followerMetrics) int64 { return m.Bytes })},
	{Name: "follower_rebases", Kind: Counter, Unit: Times, Help: "How often followers began again from a snapshot.", ofFollower: number(func(m *followerMetrics) int64 { return m.Rebases })},
	{Name: "follower_failures", Kind: Counter, Unit: Times, Help: "How often following failed.", ofFollower: number(func(m *followerMetrics) int64 { return m.Failures })},
	{Name: "follower_wal_size", Unit: Bytes, Help: "Size of the followers' WALs.", ofFollower: number(func(m *followerMetrics) int64 { return m.WALSizeBytes })},
	{Name: "follower_oldest_read", Unit: Seconds, Merge: Max, Help: "How long the oldest read of a follower has been open; 0 if there is none.", ofFollower: age(func(m *followerMetrics) time.Duration { return m.OldestRead })},
}

// Metrics returns all metrics, in the order in which a Board has their values.
func Metrics() []Metric { return slices.Clone(metrics) }

// unconfirmed counts what a session that syncs has committed beyond the manifest.
func unconfirmed(m *dbMetrics) int64 {
	if m.PendingChanges == 0 && m.SyncedSequence == 0 { // it only reads, or has no store
		return 0
	}
	return max(m.LatestSequence-m.ConfirmedSequence, 0)
}

func verified(s *Source) (float64, bool) {
	if s.Verified == nil {
		return 0, false
	}
	at := s.Verified()
	if at.IsZero() {
		return 0, true
	}
	return float64(at.UnixMilli()) / 1000, true
}
