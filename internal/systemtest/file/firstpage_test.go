package file_test

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestFirstPageCutShort: the power went while SQLite was writing the first page of a new
// database. Its journal empties the file again, and that is no database that was cut off.
func TestFirstPageCutShort(t *testing.T) {
	cfg := systemtest.Config(t)
	journal := make([]byte, 512)
	copy(journal, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
	binary.BigEndian.PutUint32(journal[20:], 512)  // sector; before the database had no page
	binary.BigEndian.PutUint32(journal[24:], 4096) // page
	systemtest.Check(t, os.WriteFile(cfg.Path+"-journal", journal, 0o600))
	systemtest.Check(t, os.WriteFile(cfg.Path, make([]byte, 4096), 0o600))
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
}
