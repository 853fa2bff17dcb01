package driftdb

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/engine"
)

// View opens the database as it was at a point in the past. The result is a *DB like any
// other, but read-only: repositories, Select, ReadTx and SQL read from it, and every write
// is ErrReadOnly. Define works for tables that were there and fit; it changes nothing.
// Changes yields the changes up to the point, and Sequence is the last of them.
//
// The view is a restored copy: View reads one snapshot and the log from there to the
// point, over the network, verifies them as Restore does, and needs as much disk space as
// the database took. After that, only Changes and Backup use the network. The copy is in
// the system's folder for temporary files, in a folder that only this user can access, and
// has mode 0600. Close deletes it; if the process is killed, the user's next View, Verify
// or ":memory:" database does.
//
// BackupConfig.OnConnect registers the functions that the schema needs. Errors are those
// of Restore: a point that the backup does not have is ErrNoBackup.
func (b *Backup) View(ctx context.Context, p Point) (*DB, error) {
	at, err := p.target()
	if err != nil {
		return nil, fail(fmt.Errorf("view %s: %w", b.b.Name(), err))
	}
	db, err := engine.View(ctx, b.b, at, fail)
	if err != nil {
		return nil, fail(err)
	}
	return &DB{engine: db}, nil
}
