package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/repair"
	"github.com/driftdb/driftdb-go/internal/resolve"
	"github.com/driftdb/driftdb-go/internal/restore"
)

// checkPath checks the path of a file that is to be created or replaced.
func checkPath(path string) error {
	if path == "" || path == ":memory:" {
		return errors.New("Path must name a file")
	}
	return nil
}

// Restore creates a file at path from what o selects. A file that it replaces is kept.
func (b *Backup) Restore(ctx context.Context, path string, o restore.Options) (restore.Result, error) {
	if b.bucket == nil {
		return restore.Result{}, ErrNoStore
	}
	o.Keep = true
	res, err := b.restore(ctx, path, o)
	if err != nil {
		return restore.Result{}, fmt.Errorf("restore %s: %w", b.cfg.Name, err)
	}
	res.Log(b.cfg.Log)
	return res, nil
}

func (b *Backup) restore(ctx context.Context, path string, o restore.Options) (_ restore.Result, err error) {
	if err := checkPath(path); err != nil {
		return restore.Result{}, err
	}
	if o.File, err = dbfile.Take(path); err != nil {
		return restore.Result{}, err
	}
	defer func() { err = errors.Join(err, o.File.Abandon()) }()
	return b.restoreTo(ctx, o)
}

// restoreTo is restore to o.File, which the caller has taken.
func (b *Backup) restoreTo(ctx context.Context, o restore.Options) (restore.Result, error) {
	o.OnConnect = b.cfg.Connect(ctx)
	return restore.Run(ctx, b.bucket, o)
}

// Temporary restores what o selects to a file that is not kept: it is gone when the File
// is released. It is in a folder that only this user can access; if the process is killed,
// the file it leaves is removed when another one is made.
func (b *Backup) Temporary(ctx context.Context, o restore.Options) (_ *dbfile.File, _ restore.Result, err error) {
	if b.bucket == nil {
		return nil, restore.Result{}, ErrNoStore
	}
	if o.File, err = dbfile.TakeTemp(); err != nil {
		return nil, restore.Result{}, err
	}
	o.Overwrite = true // the empty file of the place
	res, err := b.restoreTo(ctx, o)
	if err != nil {
		return nil, restore.Result{}, errors.Join(err, o.File.Release())
	}
	res.Log(b.cfg.Log)
	return o.File, res, nil
}

// Verify restores to a temporary file, and deletes it. It returns an error if the restore
// had to skip a snapshot.
func (b *Backup) Verify(ctx context.Context, o restore.Options) (_ restore.Result, err error) {
	work, err := dbfile.NewTemp()
	if err != nil {
		return restore.Result{}, fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	o.Overwrite = true // the empty file of the place
	res, err := b.Restore(ctx, work.Path(), o)
	if err == nil && len(res.Damaged) > 0 {
		err = fmt.Errorf("%w: %s cannot be used; the backup can still be restored from what was before; take a new snapshot", remote.ErrCorrupt, strings.Join(res.Damaged, ", "))
	}
	return res, err
}

// Revert takes back the last Restore to path that replaced a file: it puts that file back
// and keeps the one that is there now, whose path it returns.
func Revert(path string) (kept string, err error) {
	if err := checkPath(path); err != nil {
		return "", fmt.Errorf("revert: %w", err)
	}
	f, err := dbfile.Take(path)
	if err != nil {
		return "", fmt.Errorf("revert: %w", err)
	}
	r, err := f.Revert()
	if err = errors.Join(err, f.Abandon()); err != nil {
		return "", fmt.Errorf("revert: %w", err)
	}
	return r.Kept, nil
}

// Repair rebuilds a manifest. If file names the database's own file, Repair uses what the
// file records, too.
func Repair(ctx context.Context, cfg Config, file string, o repair.Options) (repair.Result, error) {
	res, err := runRepair(ctx, cfg, file, o)
	if err != nil {
		err = fmt.Errorf("repair %s: %w", cfg.Name, err)
	}
	return res, err
}

func runRepair(ctx context.Context, cfg Config, file string, o repair.Options) (res repair.Result, err error) {
	b, err := Open(ctx, cfg)
	if err != nil {
		return res, err
	}
	if file != "" {
		if o.Known, err = repair.ReadFile(file, cfg.Name); err != nil {
			return res, err
		}
	}
	o.OnConnect = cfg.Connect(ctx)
	return repair.Run(ctx, b.bucket, o)
}

// Resolve merges the file at path and the bucket into one history.
func Resolve(ctx context.Context, cfg Config, path string, o resolve.Options) (resolve.Result, error) {
	res, err := runResolve(ctx, cfg, path, o)
	if err != nil {
		err = fmt.Errorf("resolve %s: %w", path, err)
	}
	return res, err
}

func runResolve(ctx context.Context, cfg Config, path string, o resolve.Options) (res resolve.Result, err error) {
	if err := checkPath(path); err != nil {
		return res, err
	}
	b, err := Open(ctx, cfg)
	if err != nil {
		return res, err
	}
	if o.File, err = dbfile.Take(path); err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, o.File.Abandon()) }()
	o.OnConnect = cfg.Connect(ctx)
	if res, err = resolve.Run(ctx, b.bucket, o); err != nil || !res.Resolved {
		return res, err
	}
	// The clean-shutdown marker belongs to the old file. If the new file had none, Open
	// would think that another program put it there, and store a snapshot.
	return res, foreign.MarkClean(o.File)
}
