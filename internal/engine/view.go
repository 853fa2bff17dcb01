package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/restore"
)

// A view is a database of the past: a restored file that is read-only and not kept. It
// continues the history it was restored from, as a database that Open has restored does:
// so it knows its sequence, and its changes are those up to there.

// View restores what the backup holds at a point to a file that is not kept, and opens it
// for reading.
func View(ctx context.Context, b *backup.Backup, at restore.Target, public func(error) error) (*DB, error) {
	file, _, err := b.Temporary(ctx, restore.Options{Target: at, Finish: continued("", false)})
	if err != nil {
		return nil, fmt.Errorf("view %s: %w", b.Name(), err)
	}
	cfg := Config{Config: b.Config(), Path: file.Path(), ReadOnly: true, Public: public}
	o := &opening{DB: newDB(ctx, cfg.withDefaults())}
	o.file, o.uplink.bucket = file, b.Bucket()
	if err := o.openReaders(); err != nil {
		return nil, fmt.Errorf("view %s: %w", b.Name(), errors.Join(err, file.Release()))
	}
	return o.DB, nil
}
