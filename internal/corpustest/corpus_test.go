package corpustest

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
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

var (
	whole = flag.Bool("corpus", false, "take all of SQLite's fuzz corpus")
	only  = flag.String("image", "", "take this database or script of the corpus alone, named as in a test's messages")
)

// differs is how a restore ends that nobody may excuse.
const differs = "restored with differences"

// patience bounds what is done with one file.
const patience = 30 * time.Second

// TestCorpus: a database of SQLite's fuzz corpus is either refused and left as it
// was, or adopted, written to, and restored equal. What is wrong with it is told.
func TestCorpus(t *testing.T) {
	all := images(t)
	each(t, all, 300, 3000, play)
	wantLittle(t)
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
	dir := systemtest.MemoryDir(t)
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

// wantLittle fails if this process has had more memory than databases of some KiB need,
// however damaged they are.
func wantLittle(t *testing.T) {
	t.Helper()
	if peak := peakMemory(); peak > 1<<30 {
		t.Errorf("it has taken %d MiB of memory", peak>>20)
	}
}

// peakMemory is the most memory that this process has had, in bytes; 0 where that
// cannot be told.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib << 10
}

// play opens an image in the folder dir, and says how that ended.
func play(ctx context.Context, dir string, im image) (end string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if im.mutated != nil {
		im.data = im.mutated()
	}
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
	if unreadable != nil {
		return "adopted", fmt.Errorf("adopted, though it cannot be read: %w", unreadable)
	}
	switch end, err := backedUp(ctx, db, cfg, source); {
	case err != nil && end != differs && (faulty(source) || im.ours):
		return "adopted, " + end + ", and told to be at fault", late(ctx)
	case err != nil:
		return "adopted, " + end, err
	case faulty(source):
		return "adopted, restored equal, with its faults", late(ctx)
	}
	w := &writer{r: rand.New(rand.NewPCG(1, uint64(len(im.data)))), db: db.SQL()}
	for range 30 {
		if err := w.step(); err != nil {
			return "adopted, restored equal, not written to", err
		}
	}
	if source, err = dbtest.Dump(path); err != nil {
		return "adopted, restored equal, unreadable later", err
	}
	switch end, err := backedUp(ctx, db, cfg, source); {
	case err != nil && end != differs && im.ours:
		return "adopted, restored equal, later " + end + ", and told", late(ctx)
	case err != nil:
		return "adopted, restored equal, later " + end, fmt.Errorf("%w, after\n%s", err, w.last())
	}
	return "adopted, restored equal twice", late(ctx)
}

// faulty says whether SQLite has found something wrong with what was dumped.
func faulty(dump string) bool {
	return !strings.Contains(dump, "integrity_check|\"ok\"\n") || strings.Contains(dump, ": database disk image is malformed") || strings.Contains(dump, ": invalid fts5 file format")
}

// rows is a dump without what SQLite's check says.
func rows(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		if !strings.HasPrefix(line, "integrity_check") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// backedUp flushes a database and compares a restore with a dump of it.
func backedUp(ctx context.Context, db *driftdb.DB, cfg driftdb.Config, source string) (end string, err error) {
	if err := db.Flush(ctx); err != nil {
		return "not backed up", err
	}
	restored := filepath.Join(filepath.Dir(filepath.Dir(cfg.Path)), "restored.sqlite")
	_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store, Overwrite: true})
	if err != nil {
		return "not restored", err
	}
	again, err := dbtest.Dump(restored)
	if err != nil {
		return "restored unreadable", err
	}
	if faulty(source) {
		source, again = rows(source), rows(again) // a restore from the log alone heals an index
	}
	if source != again {
		return differs, errors.New(dbtest.Diff(source, again))
	}
	return "restored equal", nil
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
	for _, k := range []string{"text encoding", "unsupported file format", "malformed database schema"} {
		if strings.Contains(err.Error(), k) {
			return k
		}
	}
	return err.Error()
}
