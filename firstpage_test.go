package driftdb_test

import (
	"encoding/binary"
	"os"
	"testing"
)

// TestFirstPageCutShort: the power went while SQLite was writing the first page of a new
// database. Its journal empties the file again, and that is no database that was cut off.
func TestFirstPageCutShort(t *testing.T) {
	cfg := config(t)
	journal := make([]byte, 512)
	copy(journal, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
	binary.BigEndian.PutUint32(journal[20:], 512)  // sector; before the database had no page
	binary.BigEndian.PutUint32(journal[24:], 4096) // page
	check(t, os.WriteFile(cfg.Path+"-journal", journal, 0o600))
	check(t, os.WriteFile(cfg.Path, make([]byte, 4096), 0o600))
	db := open(t, cfg)
	some(t, db, "t", 1)
}
