package driftdb

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// RekeyResult counts the objects of a backup that are encrypted with its first key.
type RekeyResult struct {
	Objects int   // batches, snapshots, and manifests of branches
	Changed int   // of those, encrypted anew by this call
	Bytes   int64 // of the changed ones

	// Left names objects that are as they were, under an older key or none. Either
	// nothing in the backup needs them, or they are not what the manifest leads to, and
	// the error says so.
	Left []string
}

// Rekey encrypts what older keys of BackupConfig.EncryptionKeys have encrypted anew with
// the first one, after which the older ones are of no more use. What an older key has
// encrypted is read twice, and written once. When it is interrupted, another Rekey goes on where it was.
//
// The new key is given to what the manifest leads to and what is proven: batches by the
// chain, snapshots by their hash, and the manifests of branches. Anything else stays as it
// is, and is in Left; if it should have been proven, that is ErrCorrupt.
//
// Give the new key to the writers first, before the old one, and open their
// databases again; then Rekey does not disturb them. A writer that does not have
// the new key is fenced when Rekey is done.
//
// If somebody else may have the old key, use [Backup.RekeyAfterLeak].
func (b *Backup) Rekey(ctx context.Context, progress func(RekeyResult)) (RekeyResult, error) {
	return b.rekey(ctx, false, progress)
}

// RekeyAfterLeak is Rekey for a key that somebody else may have. Close all databases that
// write to the backup, and change the credentials of the store, before you call it with a
// new key in front of the old one; open them with the new key alone when it is done. From
// then on nothing that is encrypted with the old key counts: it is ErrKey.
//
// The manifest is replaced last, and only if nobody has replaced it meanwhile. Otherwise
// that is an error, and somebody still writes there.
//
// It cannot undo what the key was good for until then: everything that the bucket held was
// readable, and still is in copies, and in versions that the store keeps. And who could
// write to the bucket could change anything: compare a restore with the database itself.
func (b *Backup) RekeyAfterLeak(ctx context.Context, progress func(RekeyResult)) (RekeyResult, error) {
	return b.rekey(ctx, true, progress)
}

func (b *Backup) rekey(ctx context.Context, leaked bool, progress func(RekeyResult)) (RekeyResult, error) {
	if b.bucket == nil {
		return RekeyResult{}, ErrNoStore
	}
	public := func(r remote.Rekeyed) RekeyResult {
		return RekeyResult{Objects: r.Objects, Changed: r.Done, Bytes: r.Bytes, Left: remote.Keys(r.Left)}
	}
	res, err := b.bucket.Rekey(ctx, leaked, func(r remote.Rekeyed) {
		if progress != nil {
			progress(public(r))
		}
	})
	if len(res.Left) > 0 {
		b.log.Warn(event.ObjectsLeft, "objects in the bucket are left under an older key, or none",
			"count", len(res.Left), "first", res.Left[0].Key, "error", res.Left[0].Why)
	}
	if err != nil {
		err = fail(fmt.Errorf("rekey %s: %w", b.bucket.Name(), err))
	}
	return public(res), err
}
