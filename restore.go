package driftdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/segment"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// RestoreConfig says what to restore, and to where.
type RestoreConfig struct {
	Name string // of the database in the bucket
	Path string // of the file to make

	S3             *S3Config      // where the backup is: either this
	Store          objstore.Store // or this
	EncryptionKeys []string       // as in Config

	// At is the state at this time: everything up to the last transaction whose
	// own time, by the clock of the machine that committed it, is not later. Zero:
	// the latest.
	//
	// While the clock is right that is what there was then. A transaction that was
	// stamped ahead is in it as soon as a later one has a time that is not later,
	// and when a clock was set back, the state after that counts.
	At       time.Time
	Sequence int64 // the state after this change; 0: the latest

	Branch string // restore this branch of the history: a BranchInfo.ID

	// Seen is a point that the backup is known to have confirmed, such as the
	// RestoreResult.Confirmed of an earlier Verify: a backup that does not have it any
	// more is ErrRolledBack. Zero: nothing is known. Nothing else protects a machine
	// without the database from an older state of the bucket.
	Seen Point

	// OnConnect is as in Config. The restore needs what the schema does: the
	// functions and collations of indexes and generated columns, and modules.
	OnConnect func(ctx context.Context, r *Registrar) error

	Overwrite  bool // an existing file is refused otherwise
	OnProgress func(Progress)
}

// Point is a place in the history of a backup that its manifest confirms. The
// zero Point is before everything.
type Point struct {
	Epoch    int64  // of the session that has confirmed it
	Sequence int64  // of the last change
	Chain    string // the hash of everything up to there, 64 hex digits
}

func (p Point) remote() (remote.Point, error) {
	if p == (Point{}) {
		return remote.Point{}, nil
	}
	chain, err := segment.ParseChain(p.Chain)
	if err != nil || p.Epoch < 1 || p.Sequence < 0 {
		return remote.Point{}, fmt.Errorf("Seen is no point of a backup: epoch %d, sequence %d, chain %q", p.Epoch, p.Sequence, p.Chain)
	}
	return remote.Point{Position: remote.Position{Sequence: p.Sequence, Chain: chain}, Epoch: p.Epoch}, nil
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
	// was restored. See RestoreConfig.Seen.
	Confirmed Point

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

// Restore writes a database from its backup to a new file, and proves it
// first: the log's chain of hashes, the snapshot's hash, the digests of its tables,
// which the source has kept, and SQLite's integrity check, which may find nothing
// wrong that was not wrong with the source. The copy is
// free: it may be opened under any name, and knows nothing of the bucket.
// Restoring to a sequence stops at the end of the last transaction that is not
// later; for a time see RestoreConfig.At. A point between a barrier and the snapshot after it is ErrNoBackup.
//
// It uses the network, and as much disk as the database has; for a moment twice that, if
// a batch of the log changes all of it. It ends with an error, and leaves nothing, before it
// takes the last room of the disk. Until it succeeds
// nothing is at Path, or what was there before. A new file has the mode of any new file,
// less the umask; one that replaces another has that one's owner, group and mode, and is
// never open to more users. Errors: ErrNoBackup, ErrCorrupt,
// ErrRolledBack, ErrKey, ErrVersion, ErrLocked when the file to overwrite is open.
func Restore(ctx context.Context, cfg RestoreConfig) (RestoreResult, error) {
	began := time.Now()
	res, err := cfg.restore(ctx)
	if err != nil {
		return RestoreResult{}, fail(fmt.Errorf("restore %s: %w", cfg.Name, err))
	}
	r := restored(res)
	r.Duration = time.Since(began)
	return r, nil
}

func restored(res restore.Result) RestoreResult {
	return RestoreResult{
		Sequence: res.Sequence, Time: restore.TimeOf(res.Time), Rows: res.Rows, Bytes: res.Bytes,
		Tables: res.Tables, Confirmed: Point{res.Confirmed.Epoch, res.Confirmed.Sequence, res.Confirmed.Chain.String()},
		Damaged: res.Damaged, Refused: remote.Keys(res.Refused), ForeignKeyViolations: res.ForeignKeyViolations, Faults: res.Faults,
	}
}

func (cfg RestoreConfig) restore(ctx context.Context) (_ restore.Result, err error) {
	b, err := cfg.bucket(ctx)
	if err != nil {
		return restore.Result{}, err
	}
	if cfg.Path == "" || cfg.Path == memory {
		return restore.Result{}, errors.New("Path must name a file")
	}
	seen, err := cfg.Seen.remote()
	if err != nil {
		return restore.Result{}, err
	}
	file, err := dbfile.Take(cfg.Path)
	if err != nil {
		return restore.Result{}, err
	}
	defer func() { err = errors.Join(err, file.Abandon()) }()
	opts := restore.Options{File: file, Overwrite: cfg.Overwrite, Target: cfg.target(), Branch: cfg.Branch, Seen: seen, OnConnect: onConnect(ctx, cfg.OnConnect)}
	if cfg.OnProgress != nil {
		opts.Progress = func(p restore.Progress) {
			cfg.OnProgress(Progress{Stage: Stage(p.Stage), Done: p.Done, Total: p.Total})
		}
	}
	return restore.Run(ctx, b, opts)
}

func (cfg RestoreConfig) target() restore.Target {
	t := restore.Target{Sequence: cfg.Sequence}
	if !cfg.At.IsZero() {
		t.Time = cfg.At.UnixMilli()
	}
	return t
}

func (cfg RestoreConfig) bucket(ctx context.Context) (*remote.Bucket, error) {
	if err := remote.CheckName("Name", cfg.Name); err != nil {
		return nil, err
	}
	switch {
	case cfg.S3 == nil && cfg.Store == nil:
		return nil, errors.New("set S3 or Store: where the backup is")
	case cfg.S3 != nil && cfg.Store != nil:
		return nil, errors.New("both S3 and Store are set; choose one")
	case cfg.Sequence < 0:
		return nil, fmt.Errorf("Sequence %d is negative", cfg.Sequence)
	case cfg.Sequence != 0 && !cfg.At.IsZero():
		return nil, errors.New("both At and Sequence are set; choose one")
	}
	store, err := openStore(ctx, cfg.S3, cfg.Store)
	if err != nil {
		return nil, err
	}
	opts, err := sealing(CompressionGzip, cfg.EncryptionKeys)
	if err != nil {
		return nil, err
	}
	b := remote.New(wrap.Retry(wrap.Doubting(store), retry.Default()), cfg.Name, opts)
	b.ExplainMissing(func(ctx context.Context) string { return elsewhere(ctx, store, cfg.Name) })
	return b, nil
}

// elsewhere says if a bucket without a backup under the prefix that was asked has one
// under the other common prefix, and how to name that.
func elsewhere(ctx context.Context, store objstore.Store, name string) string {
	other, at := s3store.Elsewhere(store)
	if other == nil {
		return ""
	}
	names, err := remote.Databases(ctx, other)
	if err != nil || !slices.Contains(names, name) {
		return ""
	}
	return fmt.Sprintf("the bucket has it under another prefix: use --store '%s', in Go S3Config.Prefix %q", at.URL, at.Prefix)
}

// VerifyResult describes a backup that was proven.
type VerifyResult struct {
	RestoreResult
	VerifiedAt time.Time
}

// Verify restores to a temporary file, proves it as Restore does, and deletes
// it. It touches nothing in the bucket. A damaged snapshot is ErrCorrupt, also where
// Restore can do without it. What RestoreResult.Refused names is no error: it is not
// part of the backup. The file is in a folder of this user's alone, in the system's
// folder for temporary files. One that a process leaves there when it is killed goes
// with the user's next Verify, or the next ":memory:" database.
func Verify(ctx context.Context, cfg RestoreConfig) (_ VerifyResult, err error) {
	work, err := dbfile.NewTemp()
	if err != nil {
		return VerifyResult{}, fmt.Errorf("driftdb: verify: %w", err)
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	cfg.Path, cfg.Overwrite = work.Path(), true
	res, err := Restore(ctx, cfg)
	if err == nil && len(res.Damaged) > 0 {
		err = fail(fmt.Errorf("%w: %s cannot be used; the backup can still be restored from what was before; take a new snapshot", remote.ErrCorrupt, strings.Join(res.Damaged, ", ")))
	}
	return VerifyResult{res, time.Now()}, err
}

// Detach makes the file at path a free copy, as Restore writes one: it keeps
// all data, forgets its name, its log and the bucket, and may be opened under
// any name, where it is adopted. What was not uploaded is not lost, since it is
// in the file. No program may have the file open (ErrLocked). Detach uses no network.
func Detach(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("driftdb: detach %s: %w", path, context.Cause(ctx))
	}
	return fail(detach(path))
}

func detach(path string) (err error) {
	file, err := dbfile.Take(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Abandon()) }()
	if _, err := dbfile.SetAside(file.Path()); err != nil {
		return err
	}
	c, err := new(sqlite.Driver).Open(file.Path(), sqlite.Options{MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncFull, Claim: file.Hold})
	if err != nil {
		file.Forget()
		return file.Explain(err)
	}
	defer func() { err = errors.Join(err, file.Unhold(), c.Close()) }()
	// First the WAL goes, for good. It would make a file that is ours into one that is
	// not, and be taken for another database's if this ends in between.
	if err := rollbackMode(c); err != nil {
		return fmt.Errorf("detach %s: %w", file.Path(), err)
	}
	if err := changelog.Strip(c); err != nil {
		return fmt.Errorf("detach %s: %w", file.Path(), err)
	}
	return nil
}

// rollbackMode brings what is in c's WAL into the file, and ends the WAL.
func rollbackMode(c *sqlite.Conn) error {
	mode, err := c.Text("PRAGMA journal_mode=DELETE")
	if sqlite.IsBusy(err) || err == nil && mode != "delete" {
		return fmt.Errorf("%w: another program has it open; its write-ahead log cannot be ended before that one closes it", ErrLocked)
	}
	return err
}
