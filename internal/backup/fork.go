package backup

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// Fork creates a database called name in the store, which begins at a point of this one.
func (b *Backup) Fork(ctx context.Context, name string, to remote.ForkPoint) (*Backup, error) {
	if b.bucket == nil {
		return nil, ErrNoStore
	}
	err := remote.CheckName("name", name)
	if err == nil {
		_, err = b.bucket.Fork(ctx, name, to)
	}
	if err != nil {
		return nil, fmt.Errorf("fork %s: %w", b.cfg.Name, err)
	}
	cfg := b.cfg
	cfg.Name = name
	return Of(b.bucket.Sibling(name), cfg), nil
}

// Delete deletes the backup, except for what its forks need.
func (b *Backup) Delete(ctx context.Context) (remote.Deleted, error) {
	if b.bucket == nil {
		return remote.Deleted{}, ErrNoStore
	}
	d, err := b.bucket.DeleteAll(ctx)
	if err != nil {
		err = fmt.Errorf("delete %s: %w", b.cfg.Name, err)
	}
	return d, err
}
