package corpustest

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestScripts: whatever a script of SQLite's fuzz corpus does to a database by way of
// SQL, a restore is equal.
func TestScripts(t *testing.T) {
	all := scripts(t)
	t.Chdir(systemtest.MemoryDir(t)) // for what a script attaches
	each(t, all, 40, 300, func(ctx context.Context, dir string, im image) (string, error) {
		return runScript(ctx, dir, string(im.data))
	})
}

// runScript runs a script on a new database in the folder dir, and says how that ended.
func runScript(ctx context.Context, dir, script string) (end string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(dir, "db", "app.sqlite"), Store: objstore.Mem(), ManualSync: true}
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
	source, err := dbtest.Dump(cfg.Path)
	sabotage := strings.Contains(strings.ToLower(script), "writable_schema")
	if err != nil && !sabotage {
		return end + ", unreadable", err
	}
	if db.Sequence() == 0 {
		return end + ", did nothing", untouched(source)
	}
	switch how, err := backedUp(ctx, db, cfg, source); {
	case err == nil:
		return end + ", restored equal", late(ctx)
	case sabotage && how == "not backed up":
		return end + ", has damaged the schema, and was told", late(ctx)
	case sabotage && strings.Contains(strings.ToLower(script), "rootpage"):
		return end + ", has given a table the pages of another, maybe of ours", late(ctx)
	case how != differs && faulty(source):
		return end + ", " + how + ", and told to be at fault", late(ctx)
	default:
		return end + ", " + how, err
	}
}

// untouched is an error if a database that has no history is not as a new one is.
func untouched(dump string) error {
	const fresh = "user_version 0\napplication_id 0\nencoding UTF-8\nintegrity_check|\"ok\"\n"
	if dump != fresh {
		return errors.New("nothing is logged, and the database has\n" + dbtest.Diff(dump, fresh))
	}
	return nil
}
