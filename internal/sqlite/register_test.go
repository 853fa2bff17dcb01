package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"modernc.org/sqlite/vtab"
)

type nothing struct{}

func (*nothing) Create(vtab.Context, []string) (vtab.Table, error)  { return nil, nil }
func (*nothing) Connect(vtab.Context, []string) (vtab.Table, error) { return nil, nil }

// TestRegisteredEnds: nothing that was registered outlives its connection, also if
// SQLite refuses it or a statement is broken off; one list of modules is one driver.
func TestRegisteredEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sqlite")
	impl := new(nothing)
	var d Driver
	var refuse int
	opts := Options{OnConnect: func(r *Registrar) error {
		scalar := func([]any) (any, error) { return nil, nil }
		if err := r.Function(Function{Name: "f", Args: 1 + refuse, Scalar: scalar}); err != nil {
			return err
		}
		if err := r.Function(Function{Name: "agg", Args: 1, Aggregate: func() Aggregate { return panics{} }}); err != nil {
			return err
		}
		if err := r.Collation("c", strings.Compare); err != nil {
			return err
		}
		return r.Module("m", impl)
	}}
	kept := func() (n int) {
		callbacks.m.Range(func(any, any) bool { n++; return true })
		return n
	}
	before := kept()
	for range 20 {
		c, err := d.Open(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		if kept() != before+3 {
			t.Fatalf("%d callbacks are kept", kept()-before)
		}
		if err := c.Exec("SELECT agg(a) FROM (SELECT 1 a UNION ALL SELECT 2)"); err == nil {
			t.Fatal("the aggregate does not fail")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	refuse = 1 << 20
	if c, err := d.Open(path, opts); err == nil || !strings.Contains(err.Error(), "function f") {
		t.Errorf("%v, %v", c, err)
	}
	if kept() != before {
		t.Errorf("%d callbacks are kept", kept()-before)
	}
	if len(d.more) != 1 || len(d.modules) != 0 {
		t.Errorf("%d drivers for one list of modules, %d modules for all", len(d.more), len(d.modules))
	}
}

type panics struct{}

func (panics) Step([]any) error    { panic("boom") }
func (panics) Inverse([]any) error { return nil }
func (panics) Value() (any, error) { return nil, nil }
