package model_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

var resolvesFlag = flag.String("resolves", "", "TestResolveModel runs with these seeds, `from-to`")

// divergedSchema has a table of every kind that rows are told apart in, and of every
// constraint that two sides can violate together. All rows have a key and two values;
// u.v is unique, c.v refers to p.
const divergedSchema = `
	CREATE TABLE i(k INTEGER PRIMARY KEY, v, w);
	CREATE TABLE t(k TEXT PRIMARY KEY, v, w);
	CREATE TABLE n(k TEXT COLLATE NOCASE, v, w, PRIMARY KEY(k));
	CREATE TABLE o(k BLOB, v, w, PRIMARY KEY(k)) WITHOUT ROWID;
	CREATE TABLE a(k INTEGER PRIMARY KEY AUTOINCREMENT, v, w);
	CREATE TABLE r(v, w);
	CREATE TABLE u(k INTEGER PRIMARY KEY, v UNIQUE, w);
	CREATE TABLE p(k INTEGER PRIMARY KEY, v, w);
	CREATE TABLE c(k INTEGER PRIMARY KEY, v REFERENCES p DEFERRABLE INITIALLY DEFERRED, w);
	CREATE INDEX tv ON t(v);
	CREATE TRIGGER iw AFTER UPDATE OF w ON i BEGIN UPDATE i SET v = new.w WHERE k = new.k; END;`

var divergedTables = strings.Fields("i t n o a r u p c")

// tableModel is what a table holds: by key, the two values; all as SQL writes them.
type tableModel map[string][2]string

type dbModel map[string]tableModel

func (m dbModel) clone() dbModel {
	out := dbModel{}
	for table, rows := range m {
		out[table] = maps.Clone(rows)
	}
	return out
}

// editor makes random changes to a database, and to the model of it.
type editor struct {
	*rand.Rand
	db    *driftdb.DB
	m     dbModel
	name  string
	fresh int
}

func (e *editor) value() string {
	switch e.IntN(5) {
	case 0:
		return "NULL"
	case 1:
		return fmt.Sprint(e.IntN(1000) - 500)
	case 2:
		return fmt.Sprintf("%d.5", e.IntN(100))
	case 3:
		return fmt.Sprintf("X'%02X'", e.IntN(256))
	}
	return fmt.Sprintf("'text %d'", e.IntN(1000))
}

// key is one of 50 that both sides have, or may give, or one of this side's own.
func (e *editor) key(table string) string {
	n, own := e.IntN(50)+1, e.IntN(3) == 0
	if own {
		e.fresh++
		n = e.fresh + 1000
		if e.name == "b" {
			n += 100_000
		}
	}
	switch table {
	case "t":
		return fmt.Sprintf("'k%d'", n)
	case "n":
		return fmt.Sprintf("'K%d'", n)
	case "o":
		return fmt.Sprintf("X'%06X'", n)
	}
	return fmt.Sprint(n)
}

func (e *editor) values(table string) [2]string {
	v := [2]string{e.value(), e.value()}
	switch table {
	case "u":
		if v[0] = fmt.Sprint(e.IntN(150)); e.IntN(4) == 0 {
			v[0] = "NULL"
		}
	case "c":
		v[0] = "NULL"
		if parents := slices.Sorted(maps.Keys(e.m["p"])); len(parents) > 0 && e.IntN(4) > 0 {
			v[0] = parents[e.IntN(len(parents))]
		}
	}
	return v
}

// edit makes one change. What the database refuses has not happened.
func (e *editor) edit(ctx context.Context) {
	table := divergedTables[e.IntN(len(divergedTables))]
	k, v := e.key(table), e.values(table)
	old, there := e.m[table][k]
	id := "k"
	if table == "r" {
		id = "rowid"
	}
	var sql string
	switch {
	case !there:
		sql = fmt.Sprintf("INSERT INTO %s(%s, v, w) VALUES(%s, %s, %s)", table, id, k, v[0], v[1])
	case e.IntN(4) == 0:
		sql = fmt.Sprintf("DELETE FROM %s WHERE %s = %s", table, id, k)
		v = [2]string{}
	case e.IntN(2) == 0:
		v[1] = old[1]
		sql = fmt.Sprintf("UPDATE %s SET v = %s WHERE %s = %s", table, v[0], id, k)
	default:
		sql = fmt.Sprintf("UPDATE %s SET v = %s, w = %s WHERE %s = %s", table, v[0], v[1], id, k)
		if table == "i" {
			v[0] = v[1] // by the trigger
		}
	}
	if _, err := e.db.Exec(ctx, sql); err != nil {
		return
	}
	if v == ([2]string{}) {
		delete(e.m[table], k)
	} else {
		e.m[table][k] = v
	}
}

// bypass makes a change by another program, of which the log knows nothing.
func (e *editor) bypass(t *testing.T, path string) {
	c, err := sqlite.Open(path, sqlite.Options{})
	systemtest.Check(t, err)
	systemtest.Check(t, errors.Join(c.Exec("INSERT OR REPLACE INTO p(k, v, w) VALUES(7, 'bypassed', NULL)"), c.Close()))
	e.m["p"]["7"] = [2]string{"'bypassed'", "NULL"}
}

// modelOf is what a database holds.
func modelOf(t testing.TB, db *driftdb.DB) dbModel {
	t.Helper()
	out := dbModel{}
	for _, table := range divergedTables {
		id := "k"
		if table == "r" {
			id = "rowid"
		}
		out[table] = tableModel{}
		found, err := driftdb.Select[string](t.Context(), db, fmt.Sprintf("SELECT quote(%s) || char(10) || quote(v) || char(10) || quote(w) FROM %s", id, table))
		systemtest.Check(t, err)
		for _, row := range found {
			f := strings.Split(row, "\n")
			out[table][f[0]] = [2]string{f[1], f[2]}
		}
	}
	return out
}

func (m dbModel) equal(o dbModel) error {
	for _, table := range divergedTables {
		if !maps.Equal(m[table], o[table]) {
			return fmt.Errorf("table %s holds %v, want %v", table, m[table], o[table])
		}
	}
	return nil
}

// divergence is what a seed makes.
type divergence struct {
	laptops
	*rand.Rand
	base, ours, theirs dbModel
	old                string // a copy of the second one's file
}

// TestResolveModel: two laptops, offline both, make 200 random edits each, on the same 50
// rows and on rows of their own, and go online in either order. Resolve brings one
// history with every change that is in no conflict, and lists those that are.
func TestResolveModel(t *testing.T) {
	from, to := seedRange(t, *resolvesFlag, 2, 12)
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { resolveSeed(t, seed) })
	}
}

// seedRange is the seeds that a flag names, or else some.
func seedRange(t *testing.T, flag string, short, full uint64) (from, to uint64) {
	switch {
	case flag != "":
		if _, err := fmt.Sscanf(flag, "%d-%d", &from, &to); err != nil {
			t.Fatalf("%s: %v", flag, err)
		}
		return from, to
	case testing.Short():
		return 0, short
	}
	return 0, full
}

func resolveSeed(t *testing.T, seed uint64) {
	d := &divergence{Rand: rand.New(rand.NewPCG(seed, 13))}
	d.diverge(t)
	cfg := driftdb.ResolveConfig{}
	res, err := d.resolve(cfg)
	if d.refused(t, res, err) {
		cfg.Prefer = []driftdb.Side{driftdb.Ours, driftdb.Theirs}[d.IntN(2)]
		cfg.Tables = map[string]driftdb.Side{}
		for _, table := range divergedTables {
			if d.IntN(2) == 0 {
				cfg.Tables[table] = []driftdb.Side{driftdb.Ours, driftdb.Theirs}[d.IntN(2)]
			}
		}
		cfg.DryRun = true
		dry, derr := d.resolve(cfg)
		systemtest.Check(t, derr)
		cfg.DryRun = false
		if res, err = d.resolve(cfg); err != nil || len(res.Conflicts) != len(dry.Conflicts) || dry.Resolved {
			t.Fatalf("with %+v: %d conflicts, %d in the dry run, %v", cfg, len(res.Conflicts), len(dry.Conflicts), err)
		}
	}
	systemtest.Check(t, err)
	d.judge(t, cfg, res)
}

// diverge makes the two laptops, and lets one of them be first.
func (d *divergence) diverge(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	a := driftdb.Config{Name: "app", Path: filepath.Join(dir, "a.sqlite"), Store: objstore.Mem(), ManualSync: true}
	b := a
	b.Path, b.AutoRestore = filepath.Join(dir, "b.sqlite"), true
	db := systemtest.Open(t, a)
	systemtest.Exec(t, db, divergedSchema)
	first := &editor{Rand: d.Rand, db: db, m: modelOf(t, db), name: "a"}
	for range 300 {
		first.edit(t.Context())
	}
	if d.IntN(2) == 0 {
		_, err := db.Snapshot(t.Context())
		systemtest.Check(t, err)
	}
	d.base = first.m
	systemtest.Check(t, d.base.equal(modelOf(t, db)))
	systemtest.Check(t, db.Shutdown(t.Context()))
	systemtest.Check(t, systemtest.Open(t, b).Close())
	d.laptops = laptops{t: t, a: a, b: b}
	if d.IntN(2) == 0 { // in either order
		d.a, d.b = d.b, d.a
	}
	d.theirs, d.ours = d.offlineEdits(t, d.a, "a"), d.offlineEdits(t, d.b, "b")
	d.online(d.a)
	data, err := os.ReadFile(d.b.Path)
	systemtest.Check(t, err)
	d.old = filepath.Join(dir, "old.sqlite")
	systemtest.Check(t, os.WriteFile(d.old, data, 0o600))
}

// offlineEdits makes 200 edits on one laptop, and returns what it holds then.
func (d *divergence) offlineEdits(t *testing.T, cfg driftdb.Config, name string) dbModel {
	cfg.Store, cfg.AutoRestore = nil, false
	db := systemtest.Open(t, cfg)
	e := &editor{Rand: d.Rand, db: db, m: d.base.clone(), name: name}
	for i := range 200 {
		if e.edit(t.Context()); i == 100 && d.IntN(6) == 0 {
			e.bypass(t, cfg.Path)
		}
	}
	systemtest.Check(t, e.m.equal(modelOf(t, db)))
	systemtest.Check(t, db.Close())
	return e.m
}

// refused says whether there were conflicts, and looks whether they are the right ones
// and nothing was changed.
func (d *divergence) refused(t *testing.T, res driftdb.ResolveResult, err error) bool {
	t.Helper()
	if want := d.conflicts(); (len(want) > 0 || len(res.Conflicts) > 0) != errors.Is(err, driftdb.ErrConflict) {
		t.Fatalf("%d rows were changed on both sides, and: %v", len(want), err)
	}
	if err == nil {
		return false
	}
	if res.Resolved || res.Branch != "" || !errors.Is(err, driftdb.ErrConflict) {
		t.Fatalf("%+v, %v", res, err)
	}
	cfg := d.b
	cfg.Store, cfg.AutoRestore = nil, false
	db := systemtest.Open(t, cfg)
	defer db.Close()
	systemtest.Check(t, d.ours.equal(modelOf(t, db)))
	return true
}

// merged is a row as one side has it if only that has changed it; both says that both
// have, to different values.
func merged(base, ours, theirs [2]string) (row [2]string, both bool) {
	switch {
	case ours == theirs, theirs == base:
		return ours, false
	case ours == base:
		return theirs, false
	}
	return base, true
}

// conflicts are the rows that both sides have changed.
func (d *divergence) conflicts() map[string]bool {
	out := map[string]bool{}
	for _, table := range divergedTables {
		for k := range d.keys(table) {
			base, there := d.base[table][k]
			if _, both := merged(base, d.ours[table][k], d.theirs[table][k]); both && (there || table != "r") {
				out[table+k] = true
			}
		}
	}
	return out
}

func (d *divergence) keys(table string) tableModel {
	all := tableModel{}
	for _, m := range []dbModel{d.base, d.ours, d.theirs} {
		maps.Copy(all, m[table])
	}
	return all
}

// judge compares what was resolved with the model.
func (d *divergence) judge(t *testing.T, cfg driftdb.ResolveConfig, res driftdb.ResolveResult) {
	t.Helper()
	d.agree()
	db := systemtest.Open(t, d.b)
	defer db.Close()
	got := modelOf(t, db)
	if bad, err := driftdb.Select[string](t.Context(), db, "SELECT \"table\" FROM pragma_foreign_key_check"); err != nil || len(bad) > 0 {
		t.Errorf("rows that refer to none: %v, %v", bad, err)
	}
	kinds := map[driftdb.ConflictKind]int{}
	for _, c := range res.Conflicts {
		kinds[c.Kind]++
	}
	t.Logf("the file has %d changes, the bucket %d; conflicts: %v", len(res.Ours), len(res.Theirs), kinds)
	want, listed := d.conflicts(), map[string]bool{}
	for _, c := range res.Conflicts { // of two rows, so that each may have either version
		if c.Other != nil {
			listed[c.Table+d.check(t, c.ConflictRow)] = true
			listed[c.Other.Table+d.check(t, *c.Other)] = true
		}
	}
	for _, c := range res.Conflicts {
		if c.Other != nil {
			continue
		}
		k := d.check(t, c.ConflictRow)
		if !want[c.Table+k] {
			t.Errorf("%+v is listed, and was not changed on both sides", c)
		}
		delete(want, c.Table+k)
		if side := d.side(c.Choice); !listed[c.Table+k] && got[c.Table][k] != side[c.Table][k] {
			t.Errorf("%s %s is %v, want %v, the choice of %s", c.Table, k, got[c.Table][k], side[c.Table][k], c.Choice)
		}
		listed[c.Table+k] = true
	}
	if len(want) > 0 {
		t.Errorf("%v were changed on both sides, and are not listed", slices.Sorted(maps.Keys(want)))
	}
	d.compare(t, got, listed)
	branch := filepath.Join(filepath.Dir(d.old), "branch.sqlite")
	_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: d.b.Name, Path: branch, Store: d.b.Store, Branch: res.Branch})
	systemtest.Check(t, err)
	dbtest.Equal(t, d.old, branch)
}

func (d *divergence) side(s driftdb.Side) dbModel {
	if s == driftdb.Ours {
		return d.ours
	}
	return d.theirs
}

// check compares the versions of a row in a conflict with the model, and returns its key.
func (d *divergence) check(t *testing.T, r driftdb.ConflictRow) string {
	t.Helper()
	k := ""
	for _, v := range r.Key {
		k = quoted(v)
	}
	for _, side := range []struct {
		row  map[string]any
		want [2]string
	}{{r.Base, d.base[r.Table][k]}, {r.Ours, d.ours[r.Table][k]}, {r.Theirs, d.theirs[r.Table][k]}} {
		if got := row(side.row); got != side.want {
			t.Errorf("in a conflict, %s %s is %v, want %v", r.Table, k, got, side.want)
		}
	}
	return k
}

// row is the two values of a row; empty if there is none.
func row(r map[string]any) [2]string {
	if r == nil {
		return [2]string{}
	}
	return [2]string{quoted(r["v"]), quoted(r["w"])}
}

// quoted is a value as SQL writes it.
func quoted(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return "'" + v + "'"
	case []byte:
		return fmt.Sprintf("X'%X'", v)
	}
	return fmt.Sprint(v)
}

// compare compares every row that is in no conflict with the version that it has to
// have, and those that are with both sides.
func (d *divergence) compare(t *testing.T, got dbModel, listed map[string]bool) {
	t.Helper()
	for _, table := range divergedTables {
		var fresh []string // rows of both sides that nothing tells apart
		for k := range d.keys(table) {
			base, there := d.base[table][k]
			ours, theirs := d.ours[table][k], d.theirs[table][k]
			want, both := merged(base, ours, theirs)
			switch {
			case table == "r" && !there:
				fresh = append(fresh, fmt.Sprint(ours))
				if theirs != ours {
					fresh = append(fresh, fmt.Sprint(theirs))
				}
				continue
			case listed[table+k] && got[table][k] != ours && got[table][k] != theirs:
				t.Errorf("%s %s is %v, neither %v nor %v", table, k, got[table][k], ours, theirs)
			case !listed[table+k] && (both || got[table][k] != want):
				t.Errorf("%s %s is %v, want %v: base %v, ours %v, theirs %v", table, k, got[table][k], want, base, ours, theirs)
			}
		}
		for k, row := range got[table] {
			if _, known := d.keys(table)[k]; !known && table != "r" {
				t.Errorf("%s %s is %v, and neither side has it", table, k, row)
			}
		}
		if table == "r" {
			d.compareFresh(t, got[table], fresh)
		}
	}
}

func (d *divergence) compareFresh(t *testing.T, got tableModel, want []string) {
	t.Helper()
	var rows []string
	for k, row := range got {
		if _, there := d.base["r"][k]; !there {
			rows = append(rows, fmt.Sprint(row))
		}
	}
	want = slices.DeleteFunc(want, func(s string) bool { return s == fmt.Sprint([2]string{}) })
	slices.Sort(rows)
	slices.Sort(want)
	if !slices.Equal(rows, want) {
		t.Errorf("the new rows of r are %v, want %v", rows, want)
	}
}
