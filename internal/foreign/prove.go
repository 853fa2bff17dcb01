package foreign

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var (
	// ErrUnproven means that a file cannot be shown to hold what its log says and nothing
	// else.
	ErrUnproven = errors.New("the file may not be as DriftDB left it")
	// ErrAltered means that the file holds something else. It is also an ErrUnproven.
	ErrAltered = fmt.Errorf("%w: its tables do not match the log", ErrUnproven)
)

// Prove verifies that the tables of c's database match its log: the schema is the one that the
// log knows, every table has a digest, and the rows yield it. It is for a copy of a file,
// whose size and time prove nothing. It reads all of the database.
//
// It cannot see what no digest covers: PRAGMA user_version and application_id, and
// AUTOINCREMENT counters without a row behind them.
func Prove(ctx context.Context, c *sqlite.Conn) (err error) {
	if err := c.Exec("BEGIN"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Rollback()) }()
	seen, err := c.Int("SELECT schema FROM main._driftdb_log ORDER BY sequence DESC LIMIT 1")
	if err != nil {
		return err
	}
	cookie, err := c.Int("PRAGMA main.schema_version")
	if err != nil {
		return err
	}
	if cookie != seen {
		return fmt.Errorf("%w: another program has changed the schema", ErrUnproven)
	}
	known, err := logged(changelog.View(c))
	if err != nil {
		return err
	}
	found, err := scan.All(ctx, c)
	if err != nil {
		return err
	}
	if err := known.Compare(found); err != nil {
		return fmt.Errorf("%w: %w", ErrAltered, err)
	}
	return covered(c, known)
}

// logged returns the digests at the end of the log.
func logged(log *changelog.Log) (digest.Set, error) {
	books, err := log.Books()
	if err != nil {
		return nil, err
	}
	d, err := log.Digests()
	if err != nil {
		return nil, err
	}
	err = log.Each(books.Acked+1, func(t changelog.Transaction) error {
		return log.Entries(t, func(_ int64, e *change.Entry) error {
			d.Known.Apply(e)
			return nil
		})
	})
	return d.Known, err
}

// covered returns an ErrUnproven if a table has no known digest. Virtual tables keep their
// contents in other tables, which have digests.
func covered(c *sqlite.Conn, known digest.Set) error {
	return c.Each(`SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
		AND lower(name) NOT LIKE 'sqlite\_%' ESCAPE '\' AND lower(name) NOT LIKE '\_driftdb\_%' ESCAPE '\'`, func(st *sqlite.Stmt) error {
		if _, ok := known[st.Text(0)]; !ok {
			return fmt.Errorf("%w: the contents of table %q are not known", ErrUnproven, st.Text(0))
		}
		return nil
	})
}
