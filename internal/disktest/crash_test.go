package disktest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/vfs/vfstest"
)

// crash is one image, and what is known of the moment.
type crash struct {
	s        scenario
	ops      []vfstest.Op  // up to it
	image    vfstest.Image // nil: the power did not go, and dir is what there is
	thorough bool          // a restore is compared, too
	kept     state         // what else has to be there
	dir      string
}

// key tells whether two crashes are the same: what is on disk, in the bucket and promised.
func (c crash) key() [32]byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c.image)) {
		f := c.image[name]
		fmt.Fprintf(h, "%s %d %d ", name, f.ModTime, len(f.Data))
		h.Write(f.Data)
	}
	notes := 0
	for _, op := range c.ops {
		if op.Kind == vfstest.Note {
			notes++
		}
	}
	fmt.Fprint(h, notes)
	return [32]byte(h.Sum(nil))
}

// promised is what callers had been told of by then.
func (c crash) promised() state {
	all := maps.Clone(c.kept)
	if all == nil {
		all = state{}
	}
	for _, op := range c.ops {
		if p, ok := op.Note.(promise); ok {
			for w, n := range p.state {
				all[w] = max(all[w], n)
			}
		}
	}
	return all
}

// events collects what a database tells, for a failure's message.
type events struct {
	mu  sync.Mutex
	all []driftdb.Event
}

func (e *events) add(event driftdb.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) told(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		return nil
	}
	for _, event := range e.all {
		err = fmt.Errorf("%w\n%v", err, event)
	}
	return err
}

// check opens the image, and says what does not hold.
func (c crash) check() (err error) {
	if err := c.image.Write(c.dir); err != nil {
		return err
	}
	b := bucketAt(c.ops)
	cfg := config(c.dir, b)
	var told events
	cfg.OnEvent = told.add
	defer func() { err = told.told(err) }()
	if c.s.replaces {
		cfg.Store, cfg.AutoRestore = nil, false // the new file is a free copy, and the bucket would refuse it
		return c.whole(cfg)
	}
	cfg.ManualSync = !c.s.behind
	if err := c.reopen(cfg, b); err != nil || !c.thorough {
		return err
	}
	restored := filepath.Join(c.dir, "restored", "app.sqlite")
	if _, err := driftdb.Restore(context.Background(), driftdb.RestoreConfig{Name: cfg.Name, Store: b, Path: restored}); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return dbtest.Compare(cfg.Path, restored)
}

// whole says whether the file is a sound database that has what was promised.
func (c crash) whole(cfg driftdb.Config) (err error) {
	db, err := driftdb.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return c.holds(db)
}

func (c crash) holds(db *driftdb.DB) error {
	s, err := stateOf(db)
	if err != nil {
		return err
	}
	if want := c.promised(); !s.covers(want) {
		return fmt.Errorf("it holds %v, and %v was promised", s, want)
	}
	return db.IntegrityCheck(context.Background())
}

// after is the writer of what is written after a crash.
const after = 99

// reopen opens the database with its bucket, and goes on with it.
func (c crash) reopen(cfg driftdb.Config, b *bucket) (err error) {
	ctx := context.Background()
	last := b.last()
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, there := c.image["app.sqlite"]; !c.s.behind && c.image != nil && last > 0 && (!there || db.Sequence() < last) {
		return fmt.Errorf("the disk is behind the bucket: it has changes up to %d, and the bucket up to %d (a file is there: %v)", db.Sequence(), last, there)
	}
	if _, err := stateOf(db); err != nil {
		return err
	}
	if err := db.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if err := c.holds(db); err != nil || !c.thorough {
		return err
	}
	s, err := stateOf(db)
	if err := errors.Join(err, makeTables(db), transaction(db, after, s[after]+1), db.Flush(ctx)); err != nil {
		return fmt.Errorf("go on: %w", err)
	}
	return db.IntegrityCheck(ctx)
}

// in checks the image in a folder of its own. It lends it the file that the database had
// in the scenario: power loss does not change its inode, which the marker of a clean
// shutdown has.
func (c crash) in(t *testing.T, path string) error {
	name := filepath.Base(path)
	at := filepath.Join(c.dir, name)
	lent, err := os.Stat(path)
	if _, there := c.image[name]; err != nil || !there {
		return errors.Join(c.check(), os.RemoveAll(c.dir))
	}
	if err := errors.Join(os.MkdirAll(c.dir, 0o700), os.Rename(path, at)); err != nil {
		return err
	}
	wrong := c.check()
	if now, err := os.Stat(at); err != nil || !os.SameFile(lent, now) {
		t.Fatalf("the file of the database was replaced (%v); %v", err, wrong)
	}
	if err := errors.Join(os.Rename(at, path), os.RemoveAll(c.dir)); err != nil {
		t.Fatal(err)
	}
	return wrong
}
