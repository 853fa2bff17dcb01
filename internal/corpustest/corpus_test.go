package corpustest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
)

var (
	whole = flag.Bool("corpus", false, "take all of SQLite's fuzz corpus")
	only  = flag.String("image", "", "take this database or script of the corpus alone, named as in a test's messages")
)

// patience bounds what is done with one file.
const patience = 30 * time.Second

// TestCorpus: a database of SQLite's fuzz corpus is either refused and left as it
// was, or adopted and then restored as it is; one that is damaged so that nobody can
// say what is in it is told as such when the backup is made.
func TestCorpus(t *testing.T) {
	all := images(t)
	each(t, all, 200, 1500, play)
}

// each plays images, several at a time and each in a folder of its own, and logs how
// that ended.
func each(t *testing.T, all []image, short, normal int, play func(ctx context.Context, dir string, im image) (end string, err error)) {
	switch {
	case *only != "":
		all = slices.DeleteFunc(all, func(im image) bool { return im.name != *only })
	case testing.Short():
		all = sample(all, short)
	case !*whole:
		all = sample(all, normal)
	}
	dir := inMemory(t)
	var mu sync.Mutex
	ends := map[string]int{}
	next := make(chan image)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for im := range next {
				here := filepath.Join(dir, fmt.Sprint(worker))
				end, err := play(t.Context(), here, im)
				if err != nil {
					t.Errorf("%s: %s: %v", im.name, end, err)
				}
				mu.Lock()
				ends[end]++
				mu.Unlock()
				if err := os.RemoveAll(here); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, im := range all {
		next <- im
	}
	close(next)
	wg.Wait()
	for _, end := range slices.Sorted(maps.Keys(ends)) {
		t.Logf("%6d %s", ends[end], end)
	}
}

// play opens an image in the folder dir, and says how that ended.
func play(ctx context.Context, dir string, im image) (end string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	path := filepath.Join(dir, "db", "app.sqlite")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, im.data, 0o644)); err != nil {
		return "failed", err
	}
	before, err := place(filepath.Dir(path))
	if err != nil {
		return "failed", err
	}
	source, err := dbtest.Dump(path) // the source's own faults are in it
	unreadable := err
	cfg := driftdb.Config{Name: "app", Path: path, Store: objstore.Mem(), ManualSync: true}
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		after, err2 := place(filepath.Dir(path))
		if err2 == nil && after != before {
			err2 = fmt.Errorf("refused with %w, but the folder was\n%s\nand is\n%s", err, before, after)
		}
		return "refused: " + kind(err), errors.Join(err2, late(ctx))
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if db.Sequence() == 0 {
		return "adopted, with nothing in it", nil
	}
	if err := db.Flush(ctx); err != nil {
		if errors.Is(err, driftdb.ErrCorrupt) {
			return "adopted, and told to be damaged", late(ctx)
		}
		return "adopted, not backed up", err
	}
	if unreadable != nil {
		return "adopted, restored", fmt.Errorf("backed up, though it could not be read: %w", unreadable)
	}
	restored := filepath.Join(dir, "restored.sqlite")
	if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store}); err != nil {
		return "adopted, not restored", err
	}
	again, err := dbtest.Dump(restored)
	if err != nil {
		return "adopted, restored unreadable", err
	}
	if source != again {
		return "adopted, restored with differences", errors.New(dbtest.Diff(source, again))
	}
	return "adopted, restored equal", late(ctx)
}

// late is an error if what was done has taken all the time that there was.
func late(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("it takes more than %v", patience)
	}
	return nil
}

// kind is a refusal in a word.
func kind(err error) string {
	for _, k := range []error{driftdb.ErrCorrupt, driftdb.ErrVersion, driftdb.ErrLocked} {
		if errors.Is(err, k) {
			return k.Error()
		}
	}
	if strings.Contains(err.Error(), "text encoding") {
		return "text encoding"
	}
	return err.Error()
}
