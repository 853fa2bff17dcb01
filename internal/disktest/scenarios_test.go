package disktest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// scenario is a stretch of a database's life, in which the disk is watched.
type scenario struct {
	before func(*world) error // what came before, and is on disk
	run    func(*world) error
	// behind says that the file begins behind the bucket: elsewhere it never is.
	behind bool
	// replaces says that the file is replaced by a free copy.
	replaces bool
}

// used is a database that has been used and closed.
func used(w *world) error {
	return errors.Join(w.open(), w.write(1, 4), w.flush(), w.close())
}

// checkpoint copies the WAL home, as the Checkpointer does, and DriftDB is open.
func (w *world) checkpoint(mode string) error {
	c, err := new(sqlite.Driver).Open(w.cfg.Path, sqlite.Options{MustExist: true, KeepJournal: true})
	if err != nil {
		return err
	}
	return errors.Join(c.Exec("PRAGMA wal_checkpoint("+mode+")"), c.Close())
}

func (w *world) vacuum() error {
	if w.db == nil {
		return errNotOpen
	}
	return w.db.Vacuum(context.Background())
}

// goOn opens a database that is behind its bucket, and writes to it once it has all.
func (w *world) goOn() error {
	err := errors.Join(w.open(), w.agrees())
	w.stale = err != nil
	if err == nil {
		err = errors.Join(w.write(1, 2), w.flush())
	}
	return errors.Join(err, w.close())
}

var scenarios = map[string]scenario{
	"first use": {
		before: func(*world) error { return nil },
		run:    func(w *world) error { return errors.Join(w.open(), w.write(1, 3), w.flush(), w.close()) },
	},
	"write": {
		before: used,
		run: func(w *world) error {
			err := errors.Join(w.open(), w.write(1, 3), w.flush())
			return errors.Join(err, w.write(1, 2), w.flush(), w.write(1, 2), w.close())
		},
	},
	"group commit": {
		before: used,
		run: func(w *world) error {
			errs := []error{w.open()}
			var mu sync.Mutex
			var wg sync.WaitGroup
			for writer := 1; writer <= 4; writer++ {
				wg.Go(func() {
					err := errors.Join(w.write(writer, 2), w.flush(), w.write(writer, 2))
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				})
			}
			wg.Wait()
			return errors.Join(append(errs, w.flush(), w.close())...)
		},
	},
	"checkpoint": {
		before: used,
		run: func(w *world) error {
			errs := []error{w.open()}
			for _, mode := range []string{"PASSIVE", "RESTART", "PASSIVE", "TRUNCATE"} {
				errs = append(errs, w.write(1, 3), w.flush(), w.write(1, 2), w.checkpoint(mode), w.write(1, 1))
			}
			return errors.Join(append(errs, w.close())...)
		},
	},
	"checkpoint alone": { // nothing is sent, and nothing else syncs the WAL
		before: used,
		run: func(w *world) error {
			w.cfg.CloseTimeout = -1
			errs := []error{w.open()}
			for range 3 {
				errs = append(errs, w.write(1, 2), w.checkpoint("PASSIVE"))
			}
			return errors.Join(append(errs, w.close())...)
		},
	},
	"adopt": { // a database that others have made, with a rollback journal
		before: func(w *world) error {
			c, err := new(sqlite.Driver).Open(w.cfg.Path, sqlite.Options{KeepJournal: true})
			if err != nil {
				return err
			}
			return errors.Join(c.Exec(made), c.Close())
		},
		run: func(w *world) error {
			return errors.Join(w.open(), w.write(1, 2), w.flush(), w.close())
		},
	},
	"snapshot": {
		before: used,
		run: func(w *world) error {
			return errors.Join(w.open(), w.write(1, 3), w.snapshot(), w.write(1, 2), w.vacuum(), w.write(1, 1), w.flush(), w.close())
		},
	},
	"catch-up": {
		before: func(w *world) error {
			if err := used(w); err != nil {
				return err
			}
			dir, old := filepath.Dir(w.cfg.Path), filepath.Join(w.t.TempDir(), "old")
			err := errors.Join(exec.Command("cp", "-a", dir, old).Run(),
				w.open(), w.write(1, 5), w.flush(), w.write(2, 5), w.flush(), w.close())
			return errors.Join(err, exec.Command("cp", "-a", old+"/.", dir).Run())
		},
		run: func(w *world) error {
			w.cfg.ManualSync = false // then Open catches up
			return w.goOn()
		},
		behind: true,
	},
	"restore": {
		before: func(w *world) error {
			err := errors.Join(w.open(), w.write(1, 5), w.snapshot(), w.write(2, 5), w.flush(), w.close())
			return errors.Join(err, os.Remove(w.cfg.Path), os.Remove(w.cfg.Path+"-lock"))
		},
		run: func(w *world) error {
			return w.goOn()
		},
		behind: true,
	},
	"restore over": {
		before: func(w *world) error {
			return errors.Join(used(w), w.open(), w.write(2, 5), w.snapshot(), w.write(1, 2), w.flush(), w.write(1, 2), w.close())
		},
		run: func(w *world) error {
			_, err := driftdb.Restore(context.Background(), driftdb.RestoreConfig{Name: w.cfg.Name, Store: w.bucket, Path: w.cfg.Path, Overwrite: true})
			return err
		},
		replaces: true,
	},
}
