package corpustest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestScripts: whatever a script of SQLite's fuzz corpus does to a database by way of
// SQL, a restore is equal.
func TestScripts(t *testing.T) {
	all := scripts(t)
	t.Chdir(inMemory(t)) // for what a script attaches
	each(t, all, 40, 300, func(ctx context.Context, dir string, im image) (string, error) {
		return runScript(ctx, dir, string(im.data))
	})
}

// runScript runs a script on a new database in the folder dir, and says how that ended.
func runScript(ctx context.Context, dir, script string) (end string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "failed", err
	}
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: objstore.Mem(), ManualSync: true}
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return "failed", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.SQL().Conn(ctx)
	if err != nil {
		return "failed", err
	}
	moment, stop := context.WithTimeout(ctx, 200*time.Millisecond)
	defer stop()
	_, failed := conn.ExecContext(moment, script)
	end = "ran"
	switch {
	case moment.Err() != nil:
		end = "ran too long"
	case failed != nil:
		end = "ran up to an error"
	}
	_, _ = conn.ExecContext(ctx, "ROLLBACK") // if the script has left a transaction open
	if err := conn.Close(); err != nil {
		return end, err
	}
	if err := db.Flush(ctx); err != nil {
		if strings.Contains(strings.ToLower(script), "writable_schema") {
			return end + ", has damaged the schema, and was told", late(ctx)
		}
		return end + ", not backed up", fmt.Errorf("flush: %w", err)
	}
	if db.Sequence() == 0 {
		return end + ", did nothing", untouched(cfg.Path)
	}
	restored := filepath.Join(dir, "restored.sqlite")
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store}); err != nil {
		return end + ", not restored", err
	}
	source, err := dbtest.Dump(cfg.Path)
	if err != nil {
		return end + ", unreadable", err
	}
	again, err := dbtest.Dump(restored)
	if err != nil {
		return end + ", restored unreadable", err
	}
	if source != again {
		return end + ", restored with differences", errors.New(dbtest.Diff(source, again))
	}
	return end + ", restored equal", late(ctx)
}

// untouched is an error if a database that has no history is not as a new one is.
func untouched(path string) error {
	dump, err := dbtest.Dump(path)
	if err != nil {
		return err
	}
	const fresh = "user_version 0\napplication_id 0\nencoding UTF-8\nintegrity_check|\"ok\"\n"
	if dump != fresh {
		return errors.New("nothing is logged, and the database has\n" + dbtest.Diff(dump, fresh))
	}
	return nil
}
