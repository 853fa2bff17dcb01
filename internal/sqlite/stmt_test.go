package sqlite_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestColumns: what is read of a row is what its query selects, in each encoding, and when
// a value is asked for as if it were of another kind.
func TestColumns(t *testing.T) {
	for _, encoding := range []string{"UTF-8", "UTF-16le", "UTF-16be"} {
		c, err := sqlite.Open(filepath.Join(t.TempDir(), "x.sqlite"), sqlite.Options{KeepJournal: true})
		if err != nil {
			t.Fatal(err)
		}
		run(t, c, fmt.Sprintf("PRAGMA encoding='%s'; CREATE TABLE t(a, b REAL); INSERT INTO t VALUES"+
			"(7, 7), ('7é', 0.5), (x'00c3', -1), ('', NULL), (x'', NULL), (zeroblob(2), NULL), (NULL, NULL), (1.5, 9e99)", encoding))
		got := ""
		if err := c.Each("SELECT a, b FROM t ORDER BY rowid", func(st *sqlite.Stmt) error {
			got += fmt.Sprintf("%d %t %d %g %q", st.Type(0), st.IsNull(0), st.Int64(0), st.Float(0), st.Text(0))
			got += fmt.Sprintf(" %q | %d %g %d\n", st.Blob(0), st.Type(1), st.Float(1), st.Type(2))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		want := `1 false 7 7 "7" "7" | 2 7 5
3 false 7 7 "7é" "7é" | 2 0.5 5
4 false 0 0 "\x00\xc3" "\x00\xc3" | 2 -1 5
3 false 0 0 "" "" | 5 0 5
4 false 0 0 "" "" | 5 0 5
4 false 0 0 "\x00\x00" "\x00\x00" | 5 0 5
5 true 0 0 "" "" | 5 0 5
2 false 1 1.5 "1.5" "1.5" | 2 9e+99 5
`
		if got != want {
			t.Errorf("%s:\n%s, want\n%s", encoding, got, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
