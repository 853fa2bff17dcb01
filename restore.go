package driftdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/objstore"
)

// RestoreConfig says what to restore, and to where: a [BackupConfig] and
// [RestoreOptions] in one.
type RestoreConfig struct {
	Name string // of the database in the bucket
	Path string // of the file to make

	S3             *S3Config      // where the backup is: either this
	Store          objstore.Store // or this
	EncryptionKeys []string       // as in Config

	At       time.Time // see Point.Time
	Sequence int64     // see Point.Sequence

	// Branch, Seen, Overwrite and OnProgress are as in RestoreOptions, and OnConnect
	// as in BackupConfig.
	Branch     string
	Seen       Confirmation
	OnConnect  func(ctx context.Context, r *Registrar) error
	Overwrite  bool
	OnProgress func(Progress)
}

func (cfg RestoreConfig) backup() BackupConfig {
	return BackupConfig{Name: cfg.Name, S3: cfg.S3, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys, OnConnect: cfg.OnConnect}
}

func (cfg RestoreConfig) options() RestoreOptions {
	return RestoreOptions{
		At: Point{Sequence: cfg.Sequence, Time: cfg.At}, Branch: cfg.Branch, Seen: cfg.Seen,
		Overwrite: cfg.Overwrite, OnProgress: cfg.OnProgress,
	}
}

// Point is a point in the history of a database: one of the two, or, as the zero value,
// the latest.
type Point struct {
	// Sequence is the state after this change, or, if a transaction ends later, after the
	// last one that does not. The end of a transaction names a point exactly.
	Sequence int64

	// Time is the state at this time: everything up to the last transaction whose
	// own time, by the clock of the machine that committed it, is not later.
	//
	// While the clock is right that is what there was then. A transaction that was
	// stamped ahead is in it as soon as a later one has a time that is not later,
	// and when a clock was set back, the state after that counts.
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

// RestoreOptions say what to restore of a backup.
type RestoreOptions struct {
	At     Point  // zero: the latest
	Branch string // restore this branch of the history: a BranchInfo.ID

	// Seen is what the backup is known to have confirmed, such as the
	// RestoreResult.Confirmed of an earlier Verify: a backup that does not have it any
	// more is ErrRolledBack. Zero: nothing is known. Nothing else protects a machine
	// without the database from an older state of the bucket.
	Seen Confirmation

	Overwrite  bool // an existing file is refused otherwise. Verify does not look at it
	OnProgress func(Progress)
}

// Confirmation is a place in the history of a backup that its manifest confirms. The
// zero value is before everything.
type Confirmation struct {
	Epoch    int64  // of the session that has confirmed it
	Sequence int64  // of the last change
	Chain    string // the hash of everything up to there, 64 hex digits
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

// Progress is how far a restore has come.
type Progress struct {
	Stage       Stage
	Done, Total int64 // Total is 0 when it is not known
}

// RestoreResult describes what was restored.
type RestoreResult struct {
	Sequence int64     // of the last change in it
	Time     time.Time // of that change, as its machine's clock showed it
	Rows     int64     // in all tables
	Bytes    int64     // of the file
	Tables   int       // whose contents were compared with the source's digests
	Duration time.Duration

	// Confirmed is up to where the manifest confirms the history, whatever part of it
	// was restored. See RestoreOptions.Seen.
	Confirmed Confirmation

	// Damaged names snapshots in the bucket that could not be used. An older one,
	// or the whole log, led to the same state, but the backup needs a new one:
	// see DB.Snapshot.
	Damaged []string

	// Refused names objects in the bucket that are called like a part of the backup
	// and cannot be used: a stranger's, or damaged ones. What was confirmed (by a
	// Flush, Snapshot or Close, and about once a minute) was there without them. If
	// one stands where unconfirmed changes would follow, the history ends before it.
	Refused []string

	// ForeignKeyViolations is how many rows refer to a row that is not there.
	// The source had them too: SQLite lets them in while foreign_keys is off.
	ForeignKeyViolations int64

	// Faults is what SQLite's check finds wrong with the database, and which tables
	// this program cannot read. The source had the same: what it did not have is
	// ErrCorrupt.
	Faults []string
}

// Restore writes the database from the backup to a new file at path, and proves it
// first: the log's chain of hashes, the snapshot's hash, the digests of its tables,
// which the source has kept, and SQLite's integrity check, which may find nothing
// wrong that was not wrong with the source. The copy is
// free: it may be opened under any name, and knows nothing of the bucket.
// A point between a barrier and the snapshot after it is ErrNoBackup.
//
// It uses as much disk as the database has; for a moment twice that, if
// a batch of the log changes all of it. It ends with an error, and leaves nothing, before it
// takes the last room of the disk. Until it succeeds
// nothing is at path, or what was there before. A new file has the mode of any new file,
// less the umask; one that replaces another has that one's owner, group and mode, and is
// never open to more users. Errors, beside those of any method: ErrRolledBack, and
// ErrLocked when the file to overwrite is open.
func (b *Backup) Restore(ctx context.Context, path string, o RestoreOptions) (RestoreResult, error) {
	if b.bucket == nil {
		return RestoreResult{}, ErrNoStore
	}
	began := time.Now()
	res, err := b.restore(ctx, path, o)
	if err != nil {
		return RestoreResult{}, fail(fmt.Errorf("restore %s: %w", b.bucket.Name(), err))
	}
	res.Log(b.log)
	r := restored(res)
	r.Duration = time.Since(began)
	return r, nil
}

// Verify restores to a temporary file, proves it as Restore does, and deletes
// it. It touches nothing in the bucket. A damaged snapshot is ErrCorrupt, also where
// Restore can do without it. What RestoreResult.Refused names is no error: it is not
// part of the backup. The file is in a folder of this user's alone, in the system's
// folder for temporary files. One that a process leaves there when it is killed goes
// with the user's next Verify, or the next ":memory:" database.
func (b *Backup) Verify(ctx context.Context, o RestoreOptions) (_ RestoreResult, err error) {
	work, err := dbfile.NewTemp()
	if err != nil {
		return RestoreResult{}, fail(fmt.Errorf("verify: %w", err))
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	o.Overwrite = true
	res, err := b.Restore(ctx, work.Path(), o)
	if err == nil && len(res.Damaged) > 0 {
		err = fail(fmt.Errorf("%w: %s cannot be used; the backup can still be restored from what was before; take a new snapshot", remote.ErrCorrupt, strings.Join(res.Damaged, ", ")))
	}
	return res, err
}

// Restore is [Backup.Restore] of the backup and to the file that cfg names.
func Restore(ctx context.Context, cfg RestoreConfig) (RestoreResult, error) {
	b, err := cfg.backup().open(ctx)
	if err != nil {
		return RestoreResult{}, err
	}
	return b.Restore(ctx, cfg.Path, cfg.options())
}

// VerifyResult describes a backup that was proven.
type VerifyResult struct {
	RestoreResult
	VerifiedAt time.Time
}

// Verify is [Backup.Verify] of the backup that cfg names. Path and Overwrite are not
// looked at.
func Verify(ctx context.Context, cfg RestoreConfig) (VerifyResult, error) {
	b, err := cfg.backup().open(ctx)
	if err != nil {
		return VerifyResult{}, err
	}
	res, err := b.Verify(ctx, cfg.options())
	return VerifyResult{res, time.Now()}, err
}

// Detach makes the file at path a free copy, as Restore writes one: it keeps
// all data, forgets its name, its log and the bucket, and may be opened under
// any name, where it is adopted. What was not uploaded is not lost, since it is
// in the file. No program may have the file open (ErrLocked). Detach uses no network.
func Detach(path string) error { return fail(restore.Detach(path)) }

func (b *Backup) restore(ctx context.Context, path string, o RestoreOptions) (_ restore.Result, err error) {
	if path == "" || path == memory {
		return restore.Result{}, errors.New("Path must name a file")
	}
	opts := restore.Options{Overwrite: o.Overwrite, Branch: o.Branch, OnConnect: onConnect(ctx, b.onConnect), Progress: o.progress()}
	if opts.Target, err = o.At.target(); err != nil {
		return restore.Result{}, err
	}
	if opts.Seen, err = o.Seen.remote(); err != nil {
		return restore.Result{}, err
	}
	if opts.File, err = dbfile.Take(path); err != nil {
		return restore.Result{}, err
	}
	defer func() { err = errors.Join(err, opts.File.Abandon()) }()
	return restore.Run(ctx, b.bucket, opts)
}

func (o RestoreOptions) progress() func(restore.Progress) {
	if o.OnProgress == nil {
		return nil
	}
	return func(p restore.Progress) {
		o.OnProgress(Progress{Stage: Stage(p.Stage), Done: p.Done, Total: p.Total})
	}
}

func restored(res restore.Result) RestoreResult {
	return RestoreResult{
		Sequence: res.Sequence, Time: restore.TimeOf(res.Time), Rows: res.Rows, Bytes: res.Bytes,
		Tables: res.Tables, Confirmed: Confirmation{res.Confirmed.Epoch, res.Confirmed.Sequence, res.Confirmed.Chain.String()},
		Damaged: res.Damaged, Refused: remote.Keys(res.Refused), ForeignKeyViolations: res.ForeignKeyViolations, Faults: res.Faults,
	}
}
