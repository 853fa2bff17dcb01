package driftdb

import (
	"context"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// RekeyResult counts the objects of a backup that are encrypted with its first key.
type RekeyResult struct {
	Objects int   // batches, snapshots, and manifests of branches
	Changed int   // of those, re-encrypted by this call
	Bytes   int64 // of the re-encrypted ones

	// Left names objects that were left as they are, encrypted with an older key or not
	// at all. Either nothing in the backup needs them, or they are not what the manifest
	// says, and the error reports it.
	Left []string
}

// Rekey re-encrypts with the first key of BackupConfig.EncryptionKeys what older ones
// have encrypted. After that, the older keys are no longer needed. Each object under an
// older key is read twice and written once. If Rekey is interrupted, the next call
// continues where it stopped.
//
// Only objects that the manifest leads to and that are verified get the new key: batches
// by the chain, snapshots by their hash, and the manifests of branches. Everything else
// is left as it is and listed in Left; if the manifest needs it, that is ErrCorrupt.
//
// First give the new key to the writers, before the old one in the list, and reopen their
// databases; Rekey does not disturb them then. A writer without the new key is fenced
// when Rekey is done.
//
// Objects of other databases keep their keys: those of a fork's origins, and objects of this
// database that only its forks need. Give the new key to the programs of forks as well, and
// let them keep the old one as long as they use such objects.
//
// If somebody else may have the old key, use [Backup.RekeyAfterLeak].
func (b *Backup) Rekey(ctx context.Context, progress func(RekeyResult)) (RekeyResult, error) {
	return b.rekey(ctx, false, progress)
}

// RekeyAfterLeak is Rekey for a key that somebody else may have. First close all
// databases that write to the backup, and change the credentials of the store. Then call
// it with a new key before the old one, and afterwards open the databases with the new
// key alone. From then on, nothing encrypted with the old key is accepted: it is ErrKey.
//
// The manifest is replaced last, and only if no other writer has replaced it meanwhile.
// Otherwise RekeyAfterLeak returns an error: a writer is still active.
//
// It cannot undo what happened before. Whoever had the key could read everything in the
// bucket, and still can in copies and in versions that the store keeps. Whoever could
// also write to the bucket could change anything: compare a restore with the database
// itself.
func (b *Backup) RekeyAfterLeak(ctx context.Context, progress func(RekeyResult)) (RekeyResult, error) {
	return b.rekey(ctx, true, progress)
}

func (b *Backup) rekey(ctx context.Context, leaked bool, progress func(RekeyResult)) (RekeyResult, error) {
	public := func(r remote.Rekeyed) RekeyResult {
		return RekeyResult{Objects: r.Objects, Changed: r.Done, Bytes: r.Bytes, Left: remote.Keys(r.Left)}
	}
	res, err := b.b.Rekey(ctx, leaked, func(r remote.Rekeyed) {
		if progress != nil {
			progress(public(r))
		}
	})
	return public(res), fail(err)
}
