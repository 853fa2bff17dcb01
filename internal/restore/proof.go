package restore

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// proof follows what the log says of tables: from the snapshot's digests, or
// from nothing at all, over every change that is replayed. What the writer knew
// at the end of a batch has to agree, and so have the tables of the finished
// file.
type proof struct {
	*digest.Ledger
	saved digest.Set // before the batch
}

// newProof starts with what is known of the tables before the replay.
func newProof(known digest.Set) *proof {
	set := digest.Set{}
	maps.Copy(set, known)
	return &proof{Ledger: digest.NewLedger(set)}
}

func (p *proof) begin()    { p.saved = maps.Clone(p.Set()) }
func (p *proof) rollback() { p.Replace(p.saved) }

// agree compares with what the writer knew at the end of a batch.
func (p *proof) agree(sequence int64, said digest.Report) error {
	if len(said) == 0 {
		return nil
	}
	if err := p.Set().Take(said); err != nil {
		return fmt.Errorf("%w: the changes up to sequence %d do not lead to what their writer had: %w", remote.ErrCorrupt, sequence, err)
	}
	return nil
}

// verify compares with the tables of the finished file, and returns how many of
// them it could compare.
func (p *proof) verify(found digest.Set, sequence int64) (tables int, err error) {
	known := p.Set()
	if err := known.Compare(found); err != nil {
		return 0, fmt.Errorf("%w: at sequence %d, %w", ErrDamaged, sequence, err)
	}
	return len(known), nil
}

// intact lets SQLite check the file.
func intact(c *sqlite.Conn) error {
	var wrong []string
	err := c.Each("PRAGMA integrity_check(5)", func(st *sqlite.Stmt) error {
		if s := st.Text(0); s != "ok" {
			wrong = append(wrong, s)
		}
		return nil
	})
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%w: %q", ErrDamaged, wrong)
	}
	return err
}

// violations counts the rows that refer to a row that is not there. The source
// may have had them: SQLite lets them in while foreign_keys is off, and so does
// a replay, which must not be stricter than the source was. A table whose
// foreign keys do not fit the table that they refer to counts as one.
func violations(c *sqlite.Conn, tables []string) (n int64, err error) {
	for _, t := range tables {
		err := c.Each("PRAGMA main.foreign_key_check("+sqlite.Quote(t)+")", func(*sqlite.Stmt) error { n++; return nil })
		if e, ok := errors.AsType[*sqlite.Error](err); ok && strings.HasPrefix(e.Msg, "foreign key mismatch") {
			n++
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// signs are what SQLite says when it lacks something that a schema names.
var signs = []struct{ what, sign string }{
	{"function", "no such function: "},
	{"function", "unknown function: "},
	{"collation", "no such collation sequence: "},
	{"module", "no such module: "},
}

// missing explains an error by which SQLite says that it lacks what the program
// that wrote the database had registered.
func missing(err error) error {
	sqliteErr, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	for _, s := range signs {
		if _, name, found := strings.Cut(sqliteErr.Msg, s.sign); found {
			return fmt.Errorf("%w: the %s %s, which the program that wrote it had; OnConnect registers it: %w", ErrMissing, s.what, name, err)
		}
	}
	return err
}
