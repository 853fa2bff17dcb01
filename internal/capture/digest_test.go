package capture_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// digests follows a log, and holds what it says of tables against the tables:
// every test of capture is also one of digests.
type digests struct {
	set    digest.Set     // what the log alone says …
	joined digest.Set     // … and with what a scan knew of the tables that it did not
	ledger *digest.Ledger // the same as set
	scans  int
}

// maxScans bounds how often a replay is held against the tables: a scan reads
// them all.
const maxScans = 60

func newDigests(t testing.TB) *digests {
	d := &digests{set: digest.Set{}, joined: digest.Set{}, ledger: digest.NewLedger(digest.Set{})}
	t.Cleanup(d.ledger.Close)
	return d
}

func (d *digests) apply(e *change.Entry) error {
	for _, set := range []digest.Set{d.set, d.joined} {
		before := maps.Clone(set)
		set.Apply(e)
		if after := maps.Clone(set); e.Op != change.Schema && e.Op != change.Barrier {
			if err := after.Revert(e); err != nil || !maps.Equal(after, before) {
				return fmt.Errorf("%+v taken back leaves %v, not %v: %v", e, after, before, err)
			}
		}
	}
	d.ledger.Apply(e)
	return nil
}

// check compares with the database that the log was replayed into so far.
func (d *digests) check(t testing.TB, c *sqlite.Conn) error {
	if d.scans++; d.scans > maxScans {
		return nil
	}
	all, err := scan.All(t.Context(), c)
	if err != nil {
		return err
	}
	if err := d.set.Compare(all); err != nil {
		return err
	}
	if err := d.joined.Compare(all); err != nil {
		return err
	}
	for table, sum := range all {
		d.joined[table] = sum
	}
	if l := d.ledger.Set(); !maps.Equal(l, d.set) {
		return fmt.Errorf("the ledger says %v, the set %v", l, d.set)
	}
	return nil
}

// same compares what is known with both databases in full.
func (d *digests) same(t testing.TB, paths ...string) {
	t.Helper()
	if l := d.ledger.Set(); !maps.Equal(l, d.set) {
		t.Errorf("the ledger says %v, the set %v", l, d.set)
	}
	for _, path := range paths {
		c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all, err := scan.All(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []digest.Set{d.set, d.joined} {
			if err := set.Compare(all); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}
