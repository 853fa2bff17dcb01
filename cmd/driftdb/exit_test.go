package main

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/driftdb/driftdb-go"
)

// TestHintsOfTheWorld: what other programs and the disk cause has a next step, too.
func TestHintsOfTheWorld(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&driftdb.Error{Code: sqliteBusy, ExtendedCode: 261, Message: "database is locked"}, "when that has ended"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EROFS}, "use a place that can be written to"},
	} {
		if got := hintFor(fmt.Errorf("open: %w", c.err)); !strings.Contains(got, c.want) {
			t.Errorf("%v: %q", c.err, got)
		}
	}
}
