package driftdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/objstore"
)

// RestoreConfig says what to restore, and where to: a [BackupConfig] and [RestoreOptions]
// in one.
type RestoreConfig struct {
	Name string // of the database in the bucket
	Path string // of the file to create

	S3             *S3Config      // where the backup is: set this
	Store          objstore.Store // or this
	EncryptionKeys []string       // as in Config

	At       time.Time // see Point.Time
	Sequence int64     // see Point.Sequence

	// Branch, Seen, Overwrite and OnProgress are as in RestoreOptions, and OnConnect as
	// in BackupConfig.
	Branch     string
	Seen       Confirmation
	OnConnect  func(ctx context.Context, r *Registrar) error
	Overwrite  bool
	OnProgress func(Progress)
}

// parts returns the backup that cfg names, and the rest of cfg as options.
func (cfg RestoreConfig) parts(ctx context.Context) (*Backup, RestoreOptions, error) {
	b, err := BackupConfig{Name: cfg.Name, S3: cfg.S3, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys, OnConnect: cfg.OnConnect}.open(ctx)
	return b, RestoreOptions{
		At: Point{Sequence: cfg.Sequence, Time: cfg.At}, Branch: cfg.Branch, Seen: cfg.Seen, Overwrite: cfg.Overwrite, OnProgress: cfg.OnProgress,
	}, err
}

// Point is a point in the history of a database. Set one of the two fields; the zero
// value is the latest point.
type Point struct {
	// Sequence selects the state after this change or, if its transaction ends later, the
	// state before that transaction. The end of a transaction names a point exactly. A
	// sequence past the end of the history is ErrNoBackup.
	Sequence int64

	// Time selects the state at this time: everything up to the last transaction whose
	// time, by the clock of the machine that committed it, is not later.
	//
	// If the clock was right, that is exactly what there was at that time. A transaction
	// stamped too far ahead is included if one after it has a time that is not later; and
	// if a clock was set back, the state after that counts.
	Time time.Time
}

func (p Point) target() (restore.Target, error) {
	switch {
	case p.Sequence < 0:
		return restore.Target{}, fmt.Errorf("Sequence %d is negative", p.Sequence)
	case p.Time.IsZero():
		return restore.Target{Sequence: p.Sequence}, nil
	case p.Sequence != 0:
		return restore.Target{}, errors.New("both a time and a sequence are set; choose one")
	}
	return restore.Target{Time: p.Time.UnixMilli()}, nil
}

// RestoreOptions say what to restore from a backup.
type RestoreOptions struct {
	At     Point  // zero: the latest
	Branch string // restore this branch of the history: a BranchInfo.ID

	// Seen is what the backup is known to have confirmed, such as RestoreResult.Confirmed
	// of an earlier Verify. A backup that no longer has it is ErrRolledBack. Zero: nothing
	// is known. If this machine does not have the database, only Seen protects it from an
	// older state of the bucket.
	Seen Confirmation

	Overwrite  bool // replace an existing file, which is an error otherwise, and keep it: see Revert. Verify ignores it
	OnProgress func(Progress)
}

// Confirmation is a place in the history of a backup that its manifest confirms. The zero
// value is before everything.
type Confirmation struct {
	Epoch    int64  // of the session that confirmed it
	Sequence int64  // of the last change
	Chain    string // the hash of everything up to that change, 64 hex digits
}

func (c Confirmation) remote() (remote.Point, error) {
	if c == (Confirmation{}) {
		return remote.Point{}, nil
	}
	chain, err := batch.ParseChain(c.Chain)
	if err != nil || c.Epoch < 1 || c.Sequence < 0 {
		return remote.Point{}, fmt.Errorf("Seen is no point of a backup: epoch %d, sequence %d, chain %q", c.Epoch, c.Sequence, c.Chain)
	}
	return remote.Point{Position: remote.Position{Sequence: c.Sequence, Chain: chain}, Epoch: c.Epoch}, nil
}

// Progress is how far a restore has got.
type Progress struct {
	Stage       Stage
	Done, Total int64 // Total is 0 if it is not known
}

// RestoreResult describes what was restored.
type RestoreResult struct {
	Sequence int64     // of the last change in it
	Time     time.Time // of that change, by the clock of the machine that made it
	Rows     int64     // in all tables
	Bytes    int64     // of the file
	Tables   int       // whose contents were compared with the source's digests
	Duration time.Duration

	// Replaced is where the replaced file is now, if there was one. It is kept beside the
	// new one until the next restore that replaces a file. [Revert] puts it back.
	Replaced string

	// Confirmed is how far the manifest confirms the history, whichever part of it was
	// restored. See RestoreOptions.Seen.
	Confirmed Confirmation

	// Damaged names snapshots in the bucket that could not be used. An older one, or the
	// whole log, led to the same state, but the backup needs a new one: see DB.Snapshot.
	Damaged []string

	// Refused names objects in the bucket that are named like part of the backup but
	// cannot be used: they are damaged, or something else wrote them. Confirmed changes
	// (by a Flush, Snapshot or Close, and about once a minute) were complete without
	// them. If one stands where unconfirmed changes would follow, the history ends before
	// it.
	Refused []string

	// ForeignKeyViolations is how many rows refer to a row that does not exist. The
	// source had them too: SQLite accepts them while foreign_keys is off.
	ForeignKeyViolations int64

	// Faults is what SQLite's check finds wrong with the database, and which tables this
	// program cannot read. The source had the same faults; any other fault is ErrCorrupt.
	Faults []string
}

// Restore writes the database from the backup to a new file at path, after verifying it:
// the log's chain of hashes, the snapshot's hash, the digests of its tables as recorded
// by the source, and SQLite's integrity check, which may find no fault that the source
// did not have. The copy is independent: you can open it under any name, and it knows
// nothing of the bucket. A point between a barrier and the snapshot after it is
// ErrNoBackup.
//
// It uses as much disk space as the database takes, and twice that for a moment if one
// batch of the log changes all of it. Before it would fill the disk, it stops with an
// error and leaves nothing behind. Until it succeeds, path stays as it was. A new file
// gets mode 0666 less the umask; a file that replaces another gets that one's owner,
// group and mode, and is never open to more users. In addition to the errors of every
// method: ErrRolledBack, and ErrLocked if the file to overwrite is open.
func (b *Backup) Restore(ctx context.Context, path string, o RestoreOptions) (RestoreResult, error) {
	return b.restored(o, func(internal restore.Options) (restore.Result, error) { return b.b.Restore(ctx, path, internal) })
}

// Verify restores to a temporary file, verifies it as Restore does, and deletes it. It
// changes nothing in the bucket. A damaged snapshot is ErrCorrupt, even if Restore can do
// without it. Objects that RestoreResult.Refused names are no error: they are not part of
// the backup. The file is in a folder that only this user can access, in the system's
// folder for temporary files. If the process is killed, the file it leaves is deleted by
// the user's next Verify or next ":memory:" database.
func (b *Backup) Verify(ctx context.Context, o RestoreOptions) (RestoreResult, error) {
	return b.restored(o, func(internal restore.Options) (restore.Result, error) { return b.b.Verify(ctx, internal) })
}

// VerifySchedule says when [Backup.VerifyEvery] verifies a backup.
type VerifySchedule struct {
	// Every is the time between two verifications, at least a minute. Default: 24 hours. One
	// comes up to a tenth of it sooner, so that many programs do not read at the same moment,
	// and is tried again after an eighth of it if it failed.
	Every time.Duration

	// Last is when the backup was last verified, if that is known: VerifyResult.VerifiedAt. The
	// first verification is then due Every after it. Zero: at once.
	Last time.Time

	// Options are those of each verification. After each one that succeeds, Seen is what the
	// backup had confirmed by then, so a backup that goes back is noticed (ErrRolledBack).
	Options RestoreOptions

	// Done is called after each verification, on the goroutine that called VerifyEvery. It may
	// be nil.
	Done func(VerifyResult, error)
}

// VerifyEvery verifies the backup again and again, as Verify does, until ctx ends. It returns nil
// if the last verification succeeded, or none was made, and otherwise its error. Each one is an
// event, EventVerified or EventVerifyFailed. Time is that of this machine's clock, so
// verifications that a sleeping machine missed are made up for by one.
//
// Each verification reads the newest snapshot and the log since then: with a snapshot of 1 GiB
// once a day, 30 GiB a month come from the store, which costs nothing within a region of Amazon's,
// and elsewhere what data out costs. It needs room for the database in the folder for temporary
// files.
func (b *Backup) VerifyEvery(ctx context.Context, s VerifySchedule) error {
	every := cmp.Or(s.Every, 24*time.Hour)
	if every < time.Minute {
		return fmt.Errorf("driftdb: Every is %s, and must be a minute at least", every)
	}
	return b.b.VerifyEvery(ctx, backup.Schedule{Every: every, Last: s.Last}, func(ctx context.Context) (int64, error) {
		res, err := b.Verify(ctx, s.Options)
		if err == nil {
			s.Options.Seen = res.Confirmed
		}
		if s.Done != nil && !backup.Interrupted(ctx, err) {
			s.Done(VerifyResult{res, time.Now()}, err)
		}
		return res.Sequence, err
	})
}

// Revert takes back the last Restore that replaced the file at path: it puts the replaced
// file back, with everything in it, and keeps the restored one in turn. So a second Revert
// undoes the first. kept is where the restored one is now. As with Restore, path has one
// of the two at any moment, and no program may have either open (ErrLocked). It is
// fs.ErrNotExist if nothing is kept. Revert uses no network.
func Revert(path string) (kept string, err error) {
	kept, err = backup.Revert(path)
	return kept, fail(err)
}

// Restore is [Backup.Restore] of the backup that cfg names, to the file that it names.
func Restore(ctx context.Context, cfg RestoreConfig) (RestoreResult, error) {
	b, o, err := cfg.parts(ctx)
	if err != nil {
		return RestoreResult{}, err
	}
	return b.Restore(ctx, cfg.Path, o)
}

// VerifyResult describes a backup that was verified.
type VerifyResult struct {
	RestoreResult
	VerifiedAt time.Time
}

// Verify is [Backup.Verify] of the backup that cfg names. It ignores Path and Overwrite.
func Verify(ctx context.Context, cfg RestoreConfig) (VerifyResult, error) {
	b, o, err := cfg.parts(ctx)
	if err != nil {
		return VerifyResult{}, err
	}
	res, err := b.Verify(ctx, o)
	return VerifyResult{res, time.Now()}, err
}

// Detach makes the file at path an independent copy, like one that Restore writes. It
// keeps all data, and forgets its name, its log and the bucket. You can open it under any
// name, and it is adopted there. Changes that were not uploaded are not lost, since they
// are in the file. No program may have the file open (ErrLocked). Detach uses no network.
func Detach(path string) error { return fail(restore.Detach(path)) }

// restored calls run with o converted, and converts its result.
func (b *Backup) restored(o RestoreOptions, run func(restore.Options) (restore.Result, error)) (RestoreResult, error) {
	began := time.Now()
	internal, err := o.internal()
	if err != nil {
		return RestoreResult{}, fail(fmt.Errorf("restore %s: %w", b.b.Name(), err))
	}
	res, err := run(internal)
	if err != nil && res.Bytes == 0 { // no file was created
		return RestoreResult{}, fail(err)
	}
	out := restoreResult(res)
	out.Duration = time.Since(began)
	return out, fail(err)
}

func (o RestoreOptions) internal() (out restore.Options, err error) {
	out = restore.Options{Overwrite: o.Overwrite, Branch: o.Branch, Progress: progress(o.OnProgress)}
	if out.Target, err = o.At.target(); err != nil {
		return out, err
	}
	out.Seen, err = o.Seen.remote()
	return out, err
}

func progress(fn func(Progress)) func(restore.Progress) {
	if fn == nil {
		return nil
	}
	return func(p restore.Progress) { fn(Progress{Stage: Stage(p.Stage), Done: p.Done, Total: p.Total}) }
}

func restoreResult(res restore.Result) RestoreResult {
	return RestoreResult{
		Sequence: res.Sequence, Time: restore.TimeOf(res.Time), Rows: res.Rows, Bytes: res.Bytes,
		Tables: res.Tables, Replaced: res.Kept, Confirmed: Confirmation{res.Confirmed.Epoch, res.Confirmed.Sequence, res.Confirmed.Chain.String()},
		Damaged: res.Damaged, Refused: remote.Keys(res.Refused), ForeignKeyViolations: res.ForeignKeyViolations, Faults: res.Faults,
	}
}
