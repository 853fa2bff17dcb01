package restore

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// proof tracks the tables' digests through every change that is replayed, starting with
// the snapshot's digests or with nothing. The digests must agree with what the writer
// recorded at the end of a batch, and with the tables of the finished file.
type proof struct {
	*digest.Ledger
	saved digest.Set // before the batch
}

// newProof starts with the digests known before the replay.
func newProof(known digest.Set) *proof {
	set := digest.Set{}
	maps.Copy(set, known)
	return &proof{Ledger: digest.NewLedger(set)}
}

func (p *proof) begin()    { p.saved = maps.Clone(p.Set()) }
func (p *proof) rollback() { p.Replace(p.saved) }

// agree compares the digests with the writer's at the end of a batch.
func (p *proof) agree(sequence int64, said digest.Report) error {
	if len(said) == 0 {
		return nil
	}
	if err := p.Set().Take(said); err != nil {
		return fmt.Errorf("%w: the changes up to sequence %d do not produce what the writer had: %w", remote.ErrCorrupt, sequence, err)
	}
	return nil
}

// verify compares the digests with the tables of the finished file, as far as this
// program can read them, and returns how many tables it compared.
func (p *proof) verify(found check.Report, sequence int64) (tables int, err error) {
	known := maps.Clone(p.Set())
	for table := range found.Unread {
		delete(known, table)
	}
	if err := known.Compare(found.Digests); err != nil {
		return 0, fmt.Errorf("%w: at sequence %d, %w", ErrDamaged, sequence, err)
	}
	return len(known), nil
}

// signs are SQLite's messages for something missing that a schema names.
var signs = []struct{ what, sign string }{
	{"function", "no such function: "},
	{"function", "unknown function: "},
	{"collation", "no such collation sequence: "},
	{"module", "no such module: "},
}

// missing explains an error by which SQLite reports that it lacks something that the
// program that wrote the database had registered.
func missing(err error) error {
	sqliteErr, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	for _, s := range signs {
		if _, name, found := strings.Cut(sqliteErr.Message, s.sign); found {
			return fmt.Errorf("%w: the %s %s, which the writing program had; register it in OnConnect: %w", ErrMissing, s.what, name, err)
		}
	}
	return err
}
