package backup_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestPastTheEnd: a sequence that the history does not have is an error that says where
// the history ends. It is not the nearest state that there is.
func TestPastTheEnd(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(t.Context()))
	b := db.Backup()
	end, file := db.Sequence(), filepath.Join(t.TempDir(), "restored.db")
	for _, past := range []int64{end + 1, end + 1000} {
		_, err := b.Restore(t.Context(), file, driftdb.RestoreOptions{At: driftdb.Point{Sequence: past}})
		if !errors.Is(err, driftdb.ErrNoBackup) || !strings.Contains(err.Error(), "the history ends at") {
			t.Errorf("sequence %d of %d: %v", past, end, err)
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a restore that failed left a file: %v", err)
		}
	}
	got, err := b.Restore(t.Context(), file, driftdb.RestoreOptions{At: driftdb.Point{Sequence: end}})
	if systemtest.Check(t, err); got.Sequence != end {
		t.Errorf("restored %d, want %d", got.Sequence, end)
	}
}
