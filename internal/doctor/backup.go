package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// key reads the manifest: whether that opens shows whether the keys are right.
func (p *patient) key(ctx context.Context) Finding {
	var err error
	p.stored, err = p.bucket.Existing(ctx)
	switch {
	case errors.Is(err, seal.ErrPlaintext):
		p.lack("the manifest is not encrypted", aManifest)
		return failed("keys were given, and the backup is not encrypted", "leave the keys out; or give them to the program (EncryptionKeys), too, and run driftdb rekey")
	case errors.Is(err, seal.ErrKey):
		p.lack("the manifest cannot be decrypted", aManifest)
		return failed(err.Error(), "pass the keys in DRIFTDB_KEY or with --key-file")
	case errors.Is(err, remote.ErrDeleted):
		p.lack("the backup was deleted", aManifest)
		return notTried("the backup was deleted; a new one may begin under its name")
	case errors.Is(err, remote.ErrNoBackup):
		p.lack("there is no backup", aManifest)
		return p.noBackup(err)
	case err != nil:
		p.lack("the manifest cannot be read", aManifest)
		return failed(err.Error(), manifestRemedy(err))
	}
	p.has(aManifest)
	if len(p.cfg.Keys) > 0 {
		return okay("the backup is encrypted, and opens with the keys that were given")
	}
	return okay("the backup is not encrypted")
}

// noBackup is the finding that there is nothing under the name.
func (p *patient) noBackup(err error) Finding {
	if p.lacks(aLog) == "" && p.books.Synced == 1 {
		return failed(err.Error()+", although this file has uploaded "+several(p.books.Acked, "change", "changes"), "check name, prefix and region; if the bucket was emptied, the next upload begins a new backup")
	}
	return warn(err.Error(), "check name, prefix and region (driftdb status --store URL lists what is there), or start the program, which begins the backup")
}

func manifestRemedy(err error) string {
	switch {
	case errors.Is(err, remote.ErrVersion):
		return "upgrade driftdb and the program"
	case remote.IsDamage(err):
		return "put the manifest back from an older version or a copy of the bucket, or run driftdb repair"
	}
	return remedyOf(err)
}

func (p *patient) backup(context.Context) Finding {
	m := p.stored.Manifest
	return okay(fmt.Sprintf("confirms changes up to %d; last replaced %s", m.LatestSequence, ago(m.UpdatedAt)))
}

func (p *patient) writer(context.Context) Finding {
	m := p.stored.Manifest
	state := "its session is open"
	switch {
	case m.Released:
		state = "its session has ended"
	case m.Fenced:
		state = "it was fenced, and another session is about to take over"
	}
	found := fmt.Sprintf("node %s, epoch %d; %s", m.NodeID, m.Epoch, state)
	if p.lacks(aLog) != "" || p.id.Follower || p.id.NodeID == m.NodeID || p.id.DatabaseID != m.DatabaseID {
		return okay(found)
	}
	if p.last > p.books.Acked {
		return failed(fmt.Sprintf("another writer has fenced this file off: %s, and this file (node %s) has %s that the bucket lacks", found, p.id.NodeID, several(p.last-p.books.Acked, "change", "changes")),
			"decide which machine stays, close the program on the other, and run driftdb resolve with this file")
	}
	return warn(fmt.Sprintf("another node wrote last: %s; this file is node %s's", found, p.id.NodeID),
		"if that machine still writes, do not start this one; if not, start it: it catches up, and takes over")
}

// history compares the file with the bucket.
func (p *patient) history(ctx context.Context) Finding {
	f, err := syncer.Look(p.c, true)
	if err != nil {
		return failed("the log cannot be read: "+err.Error(), restoreIt)
	}
	c, err := syncer.Compare(ctx, p.bucket, f, false)
	switch {
	case errors.Is(err, syncer.ErrDiverged):
		return failed(err.Error(), "if both are the same database, driftdb resolve merges them; otherwise give one another name")
	case remote.IsDamage(err):
		return failed(err.Error(), "driftdb verify says what can still be restored; if the database is whole, a new snapshot (db.Snapshot) makes the latest point restorable again")
	case err != nil:
		return failed("the file cannot be compared with the bucket: "+err.Error(), remedyOf(err))
	case c.Behind() && p.lockedBy == "" && !p.id.Follower:
		return warn(fmt.Sprintf("the bucket has changes that the file lacks (it has those up to %d)", p.last), "start the program: it fetches them before it writes")
	case c.Behind():
		return okay("the bucket is ahead; the program that has the file open catches up")
	}
	return okay("the file continues what the bucket has")
}

func (p *patient) branches(ctx context.Context) Finding {
	all, err := p.bucket.Branches(ctx, p.stored.Manifest)
	if err != nil {
		return failed("branches cannot be listed: "+err.Error(), remedyOf(err))
	}
	if len(all) == 0 {
		return okay("none")
	}
	var ids []string
	for _, b := range all {
		ids = append(ids, fmt.Sprintf("%s (changes %d to %d)", b.ID(), b.From, b.To))
	}
	return warn("a writer that was fenced had changes that are not part of the history: "+strings.Join(ids, ", "), "driftdb resolve, with that writer's file, merges them; driftdb restore --branch ID writes one to a file")
}

func (p *patient) chain(ctx context.Context) Finding {
	lost, err := p.bucket.Missing(ctx, p.stored.Manifest)
	if err != nil {
		return failed("the objects cannot be listed: "+err.Error(), remedyOf(err))
	}
	if len(lost) > 0 {
		return failed("the bucket lacks what its manifest names: "+strings.Join(lost[:min(len(lost), 5)], ", "),
			"put the objects back from older versions or a copy of the bucket; if the database is whole, a new snapshot (db.Snapshot) makes the latest point restorable again. Look for a lifecycle rule that deletes by age")
	}
	return okay("every batch and snapshot that the manifest needs is listed (driftdb verify reads them, too)")
}

// since returns the bytes of the batches after the newest snapshot.
func since(batches []remote.StoredBatch, sequence int64) (bytes int64) {
	for _, b := range batches {
		if b.To > sequence {
			bytes += b.Size
		}
	}
	return bytes
}

func (p *patient) snapshot(ctx context.Context) Finding {
	m := p.stored.Manifest
	batches, err := p.bucket.HistoryBatches(ctx, m)
	if err != nil {
		return failed("the objects cannot be listed: "+err.Error(), remedyOf(err))
	}
	const snapshotNow = "take one (db.Snapshot), and look for sync.failed and sync.file_malformed in the program's log"
	if p.lacks(aLog) == "" && p.books.BarrierOpen() && p.id.DatabaseID == m.DatabaseID {
		return warn(fmt.Sprintf("changes after %d cannot be restored before there is a snapshot: the log cannot describe what happened then", p.books.Barrier-1), "let the program run until it has taken one, or call db.Snapshot")
	}
	if len(m.Snapshots) == 0 {
		if since(batches, 0) > p.cfg.Limits.Replay {
			return warn("there is none, and a restore replays "+size(since(batches, 0))+" of log", snapshotNow)
		}
		return okay("none yet: a restore replays the whole log")
	}
	newest := m.Snapshots[len(m.Snapshots)-1]
	log := since(batches, newest.Sequence)
	found := fmt.Sprintf("the newest is of change %d, %s, %s; after it the log has %s in %s", newest.Sequence, ago(newest.Time), size(newest.Size), several(m.LatestSequence-newest.Sequence, "change", "changes"), size(log))
	if log > max(p.cfg.Limits.Replay, 2*newest.Size) {
		return warn("too old: "+found+", so a restore is slow", snapshotNow)
	}
	return okay(found)
}

func (p *patient) faults(context.Context) Finding {
	snapshots := p.stored.Snapshots
	if len(snapshots) == 0 || len(snapshots[len(snapshots)-1].Faults) == 0 {
		return okay("the newest snapshot's database has none")
	}
	list := check.List(snapshots[len(snapshots)-1].Faults)
	return warn("the database has faults, and so has its backup: "+strings.Join(list[:min(len(list), 3)], "; "), "repair the data: PRAGMA integrity_check, REINDEX")
}

func (p *patient) verified(context.Context) Finding {
	const remedy = "driftdb verify, or driftdb verify --every 24h"
	at := time.Time{}
	if p.cfg.VerifiedAt != nil {
		at = p.cfg.VerifiedAt(p.dbName, p.stored.DatabaseID)
	}
	if at.IsZero() {
		return warn("this machine has never verified the backup, or found it damaged", remedy)
	}
	if since := time.Since(at); since > p.cfg.Limits.Verified {
		return warn(fmt.Sprintf("overdue: this machine last verified the backup %s ago", age(since)), remedy)
	}
	return okay(fmt.Sprintf("this machine last verified the backup %s", ago(at.UnixMilli())))
}

func (p *patient) retention(ctx context.Context) Finding {
	m, window := p.stored.Manifest, p.cfg.Retention
	if window < 0 {
		return okay("everything is kept")
	}
	garbage, err := p.bucket.Collectable(ctx, window)
	if err != nil {
		return failed("the objects cannot be listed: "+err.Error(), remedyOf(err))
	}
	bytes := int64(0)
	for _, g := range garbage {
		bytes += g.Size
	}
	found := fmt.Sprintf("%s (%s) could be deleted", several(int64(len(garbage)), "object", "objects"), size(bytes))
	late := time.UnixMilli(m.UpdatedAt).Sub(time.UnixMilli(m.PrunedAt))
	const remedy = "see whether the program may delete (sync.tidying_failed), and run driftdb gc --db FILE; a database that is seldom open needs that now and then"
	switch {
	case m.PrunedAt > 0 && late > max(p.cfg.Limits.Uncleaned, window/10) && len(garbage) > 0:
		return warn(fmt.Sprintf("not applied: nothing has been collected for %s before the last upload, and %s", age(late), found), remedy)
	case len(garbage) > p.cfg.Limits.Garbage:
		return warn(found, remedy)
	}
	return okay(found)
}

func (p *patient) versions(ctx context.Context) Finding {
	if !p.visited {
		return okay("a folder keeps none")
	}
	kept, err := s3store.Kept(ctx, p.cfg.Store, anything+p.dbName+"/")
	switch {
	case err != nil:
		return notTried("the service does not say: " + err.Error())
	case !kept.Versions:
		return okay("versioning is off: nothing that was replaced or deleted is kept")
	}
	found := fmt.Sprintf("versioning is on; of the first 1,000 versions here, %d are old (%s)", kept.Old, size(kept.Bytes))
	if !kept.Expires {
		return warn(found+", and no rule removes them: they cost as much as what is in use", "a lifecycle rule that removes noncurrent versions after some weeks: docs/PROVIDERS.md")
	}
	return okay(found + ", and a rule removes them")
}

// lastMonth returns the changes and the batches that were stored in the last 30 days, or since
// the beginning, and how long that is.
func lastMonth(batches []remote.StoredBatch, now time.Time) (changes, bytes int64, span time.Duration) {
	const month = 30 * 24 * time.Hour
	recent := slices.DeleteFunc(slices.Clone(batches), func(b remote.StoredBatch) bool { return now.Sub(b.Time) > month })
	if len(recent) == 0 {
		return 0, 0, month
	}
	oldest := now
	for _, b := range recent {
		changes, bytes = changes+b.To-b.From+1, bytes+b.Size
		if b.Time.Before(oldest) {
			oldest = b.Time
		}
	}
	if len(recent) < len(batches) {
		return changes, bytes, month
	}
	return changes, bytes, max(now.Sub(oldest), time.Hour)
}
