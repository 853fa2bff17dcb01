package driftdb_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	driftdb "github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestRollingDeploy: a new version of a program starts while the old one still runs, and
// waits for it to end. It is done often, with one volume that both have, and with two that
// have the bucket in common. Nothing is lost, and no write waits longer than LockWait.
func TestRollingDeploy(t *testing.T) {
	handovers := setting(t, "DRIFTDB_HANDOVERS", 8)
	for _, volumes := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d volumes", volumes), func(t *testing.T) {
			r := deploy{T: t, store: objstore.Mem(), ending: make(chan bool, 1)}
			for i := range 2 {
				r.paths[i] = filepath.Join(t.TempDir(), "app.sqlite")
				if volumes == 1 {
					r.paths[i] = r.paths[0]
				}
			}
			var running sync.WaitGroup
			for i := range handovers {
				started := make(chan bool)
				running.Go(func() { r.version(i, started) })
				if i > 0 {
					time.Sleep(5 * time.Millisecond) // the new one is waiting by now, as a rule
					r.ending <- true                 // the old one is told to end
				}
				<-started
			}
			r.ending <- true
			running.Wait()
			if n := notesIn(t, r.config(0)); n != int64(r.written) {
				t.Errorf("%d of %d notes are restored", n, r.written)
			}
			t.Logf("%d hand-overs, %d writes; the longest took %s, with the opening", handovers, r.written, r.longest)
		})
	}
}

type deploy struct {
	*testing.T
	store   objstore.Store
	paths   [2]string
	ending  chan bool
	written int // by one version at a time
	longest time.Duration
}

const patience = 30 * time.Second

func (r *deploy) config(i int) driftdb.Config {
	return driftdb.Config{
		Name: "app", Path: r.paths[i%2], Store: r.store, AutoRestore: true, RefuseTakeover: true, LockWait: patience,
		SyncInterval: 2 * time.Millisecond,
	}
}

// version is one version of the program: it opens the database, takes requests until it is
// told to end, and closes it.
func (r *deploy) version(i int, started chan bool) {
	began := time.Now()
	db, err := driftdb.Open(r.Context(), r.config(i))
	if err != nil {
		r.Error(err)
		close(started)
		<-r.ending
		return
	}
	exec(r, db, "CREATE TABLE IF NOT EXISTS notes(id INTEGER PRIMARY KEY, text TEXT)")
	for n := 0; ; n++ {
		exec(r, db, "INSERT INTO notes(text) VALUES(?)", fmt.Sprint(i, " ", n))
		r.written++
		r.longest = max(r.longest, time.Since(began))
		if n == 0 {
			close(started)
		}
		select {
		case <-r.ending:
			if err := db.Close(); err != nil {
				r.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
			began = time.Now()
		}
	}
}
