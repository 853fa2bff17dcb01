package driftdb

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// Fork creates a database called name in the same store, which begins at a point of this
// one, and returns its backup. It copies nothing, or a few KiB: the fork uses the objects
// of this backup up to that point, and has the same keys. From then on, the two live apart.
// [Open] with AutoRestore and the new name writes the fork's file. The fork has the history
// before the point as well, so it can be restored and forked there. The zero Point is the
// latest that the manifest confirms: [DB.Flush] confirms everything.
//
// As long as the fork needs objects of this backup, garbage collection here keeps them,
// even if the backup is deleted. Programs that collect this backup's garbage must have the
// fork's keys, or they delete nothing.
//
// Errors: those of every method; fs.ErrExist if there is a backup called name; ErrNoBackup
// if there is no such point, or it lies between a barrier and the next snapshot.
func (b *Backup) Fork(ctx context.Context, name string, p Point) (*Backup, error) {
	t, err := p.target()
	if err != nil {
		return nil, fail(fmt.Errorf("fork %s: %w", b.b.Name(), err))
	}
	f, err := b.b.Fork(ctx, name, remote.ForkPoint(t))
	if err != nil {
		return nil, fail(err)
	}
	return &Backup{f}, nil
}

// DeleteResult describes what [Backup.Delete] has deleted.
type DeleteResult struct {
	Objects int
	Bytes   int64 // their total size

	// Forks are the databases that still use objects of this one. These stay until the
	// forks need them no more, or are deleted; until then, the name cannot be used again.
	Forks []string
}

// Delete deletes the backup: what the bucket holds of the database. Nothing can be restored
// afterwards, except from its forks. The database's own file stays as it is.
//
// Close the database first. A session that is still running is fenced: ErrFenced. If Delete
// is interrupted, nothing can be restored any more, and another call, or [DeleteBackup],
// deletes the rest. A small object stays under the name, in place of the manifest; a new
// backup replaces it.
func (b *Backup) Delete(ctx context.Context) (DeleteResult, error) {
	d, err := b.b.Delete(ctx)
	return DeleteResult(d), fail(err)
}

// DeleteBackup is [Backup.Delete] of the backup that cfg names. Unlike [OpenBackup], it also
// accepts what an interrupted Delete or Fork has left.
func DeleteBackup(ctx context.Context, cfg BackupConfig) (DeleteResult, error) {
	b, err := cfg.open(ctx)
	if err != nil {
		return DeleteResult{}, err
	}
	return b.Delete(ctx)
}
