package consume_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestConsumeKilled kills a process that writes and consumes, at any moment, and at times
// takes its file away, so that the next one begins with what the bucket has. Whatever
// happens, the effects are those of each change once and in order, up to the position.
// "make consume" kills more.
func TestConsumeKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	kills := systemtest.Setting(t, "DRIFTDB_CONSUMER_KILLS", 25)
	if testing.Short() {
		kills = 5
	}
	seed := uint64(systemtest.Setting(t, "DRIFTDB_SEED", int(rand.Uint32())))
	t.Logf("DRIFTDB_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	dir := systemtest.MemoryDir(t)
	systemtest.Check(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	restores, handled := 0, 0
	for n := range kills {
		killConsumer(t, dir, uint64(r.Uint32()), time.Duration(r.Int64N(int64(250*time.Millisecond))))
		if !t.Run(fmt.Sprint(n), func(t *testing.T) {
			db := systemtest.MustRead(t, killedConfig(t, dir))
			handled = checkEffects(t, db)
			t.Logf("%d changes handled; the last change is %d", handled, db.Sequence())
		}) {
			return
		}
		if n%8 == 7 {
			loseFile(t, dir)
			restores++
		}
	}
	cfg := killedConfig(t, dir)
	cfg.AutoRestore = true
	db := systemtest.Open(t, cfg)
	for name, o := range consumers {
		finish(t, db, name, o)
	}
	all := checkEffects(t, db)
	t.Logf("%d kills, %d restores: %d changes handled, %d at the end", kills, restores, handled, all)
	if all == 0 {
		t.Error("nothing was handled")
	}
}

func killedConfig(t testing.TB, dir string) driftdb.Config {
	t.Helper()
	store, err := objstore.Dir(filepath.Join(dir, "store"))
	systemtest.Check(t, err)
	return driftdb.Config{
		Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: store,
		SyncInterval: 3 * time.Millisecond, ManifestInterval: 20 * time.Millisecond, SnapshotEvery: 200,
	}
}

// consumers says what the two consumers of the test select.
var consumers = map[string]driftdb.ConsumeOptions{"everything": {From: 1}, "orders": {From: 1, Table: "orders"}}

// handles is the function of a consumer: it writes down each change, adds up what orders
// have, and makes the consumers meet each other's changes.
func handles(name string) func(context.Context, *driftdb.Tx, driftdb.Change) error {
	return func(ctx context.Context, tx *driftdb.Tx, c driftdb.Change) error {
		if caused(c) {
			return nil
		}
		_, err := tx.Exec(ctx, "INSERT INTO effects_"+name+"(sequence, tx) VALUES(?, ?)", c.Sequence, c.Tx)
		if n, ok := c.After["amount"].(int64); ok && err == nil {
			was, _ := c.Before["amount"].(int64)
			_, err = tx.Exec(ctx, "UPDATE totals SET total = total + ? WHERE name = ?", n-was, name)
		}
		return err
	}
}

// caused reports whether a consumer has made the change.
func caused(c driftdb.Change) bool {
	switch c.Table {
	case "effects_everything", "effects_orders", "totals", "driftdb_consumers", "sqlite_sequence":
		return true
	}
	return false
}

var consumeUntilKilled = subprocess.Register("consumeUntilKilled", func(t testing.TB, args []string) {
	ctx := context.Background()
	var seed uint64
	_, err := fmt.Sscan(args[1], &seed)
	systemtest.Check(t, err)
	r := rand.New(rand.NewPCG(seed, 0))
	cfg := killedConfig(t, args[0])
	cfg.AutoRestore = true
	db := systemtest.Open(t, cfg)
	systemtest.Check(t, db.Tx(ctx, func(tx *driftdb.Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS orders(id INTEGER PRIMARY KEY, amount INTEGER);
			CREATE TABLE IF NOT EXISTS totals(name TEXT PRIMARY KEY, total INTEGER);
			CREATE TABLE IF NOT EXISTS effects_everything(id INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER, tx INTEGER);
			CREATE TABLE IF NOT EXISTS effects_orders(id INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER, tx INTEGER);
			INSERT OR IGNORE INTO totals VALUES('everything', 0), ('orders', 0)`)
		return err
	}))
	for name, o := range consumers {
		go func() {
			fmt.Fprintln(os.Stderr, name, db.Consume(ctx, name, handles(name), o))
			os.Exit(1)
		}()
	}
	fmt.Println("begins")
	for n := 0; ; n++ {
		systemtest.Check(t, db.Tx(ctx, func(tx *driftdb.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO orders(amount) VALUES(?1), (2 * ?1); UPDATE orders SET amount = amount + 1 WHERE id = (SELECT max(id) - ?1 FROM orders)", r.IntN(10))
			return err
		}))
		switch r.IntN(30) {
		case 0:
			systemtest.Check(t, db.Flush(ctx)) // trims the log
		default:
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // the consumers catch up, and wait
		}
	}
})

func killConsumer(t *testing.T, dir string, seed uint64, after time.Duration) {
	t.Helper()
	cmd := consumeUntilKilled.Command(t.Context(), dir, fmt.Sprint(seed))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	systemtest.Check(t, err)
	systemtest.Check(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "begins\n" {
		t.Fatalf("the process says %q, %v: %v", line, err, cmd.Wait())
	}
	time.Sleep(after)
	_ = cmd.Process.Kill() // fails if it has ended
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the process ended by itself: %v", err)
	}
}

// loseFile removes the database, as far as it is in the bucket.
func loseFile(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "app.sqlite*"))
	systemtest.Check(t, err)
	for _, file := range files {
		systemtest.Check(t, os.RemoveAll(file))
	}
}

// checkEffects compares the effects with the history, and returns how many there are.
func checkEffects(t *testing.T, db *driftdb.DB) (handled int) {
	t.Helper()
	for name, o := range consumers {
		position, err := driftdb.Select[int64](t.Context(), db, "SELECT position FROM driftdb_consumers WHERE name = ?", name)
		if err != nil || len(position) == 0 || position[0] == 0 {
			continue // it was killed before it had begun
		}
		var want []int64
		total := int64(0)
		for c, err := range db.Changes(t.Context(), driftdb.ChangeQuery{From: 1, To: position[0]}) {
			systemtest.Check(t, err)
			if caused(c) || o.Table != "" && c.Table != o.Table || c.Operation == driftdb.OperationSchema && strings.Contains(c.SQL, "driftdb_consumers") {
				continue
			}
			want = append(want, c.Sequence)
			if n, ok := c.After["amount"].(int64); ok {
				was, _ := c.Before["amount"].(int64)
				total += n - was
			}
		}
		got := notes(t, db, "effects_"+name)
		if !slices.Equal(got, want) {
			t.Fatalf("%s has handled %d changes up to %d, and there are %d: first difference %s", name, len(got), position[0], len(want), difference(got, want))
		}
		sum, err := driftdb.Select[int64](t.Context(), db, "SELECT total FROM totals WHERE name = ?", name)
		if systemtest.Check(t, err); sum[0] != total {
			t.Fatalf("%s has added up %d, and it is %d", name, sum[0], total)
		}
		handled += len(got)
	}
	return handled
}

func difference(got, want []int64) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("at %d: %d, want %d", i, got[i], want[i])
		}
	}
	return fmt.Sprintf("one ends: %d, want %d", len(got), len(want))
}

// finish runs a consumer until nothing is left.
func finish(t *testing.T, db *driftdb.DB, name string, o driftdb.ConsumeOptions) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last := db.Sequence()
	done := systemtest.InGoroutine(func() error { return db.Consume(ctx, name, handles(name), o) })
	systemtest.Exec(t, db, "INSERT INTO orders(amount) VALUES(1)") // when it has this, it has all
	systemtest.Eventually(t, name+" has handled all", func() bool {
		got := notes(t, db, "effects_"+name)
		return len(got) > 0 && got[len(got)-1] > last
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("%s ends with %v", name, err)
	}
}
