package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// world is one database: its bucket, the machines that have ever worked on it,
// and what is known to be safe. It proves the invariant: a restored database
// equals the source at some commit, never a mixture, and at or after the last
// change whose upload was acknowledged.
type world struct {
	testing.TB
	rnd      *rand.Rand
	dir      string
	bucket   objstore.Store // as it is, without faults
	cfg      driftdb.Config // what all machines have in common
	machines []*machine
	files    int
	starts   int

	sent     place       // the last change that was acknowledged
	spoilt   atomic.Bool // a stored object was altered on its way: a restore may fail, but not lie
	branches sync.Map    // branchKept by id: what machines have told that they left behind
	barriers bool        // there are points in the log that no restore can stop at
	journal  []string
	seen     driftdb.Confirmation // what the backup has confirmed: it never has less later
}

// place is a place in the history of a machine.
type place struct {
	m        *machine
	sequence int64
}

// branchKept is what a machine that lost has told of its branch.
type branchKept struct {
	to int64
	at time.Time
}

// state is what a database was between two commits.
type state struct {
	dump string
	at   time.Time // of the commit
}

// note keeps what happens for whoever has to understand a failure.
func (w *world) note(format string, args ...any) {
	w.journal = append(w.journal, time.Now().UTC().Format("02 15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// fatal ends the test, and tells how it came to this.
func (w *world) fatal(format string, args ...any) {
	w.Helper()
	w.Fatalf("%s\n%s", strings.Join(w.journal, "\n"), fmt.Sprintf(format, args...))
}

func (w *world) newPath() string {
	w.files++
	return filepath.Join(w.dir, fmt.Sprintf("%d.sqlite", w.files))
}

// one in n.
func (w *world) one(n int) bool { return w.rnd.IntN(n) == 0 }

// expected says whether an operation may fail like this: because of a fault,
// or because it was told so in as many words.
func (w *world) expected(err error) bool {
	for _, is := range []error{objstoretest.ErrInjected, driftdb.ErrCorrupt, driftdb.ErrFenced, driftdb.ErrDiverged, driftdb.ErrNoBackup, driftdb.ErrKey, driftdb.ErrVersion} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// writer reads who writes the bucket, and under which epoch.
func (w *world) writer() (node string, epoch int64) {
	info, err := systemtest.InfoOf(context.Background(), driftdb.BackupConfig{Name: w.cfg.Name, Store: w.bucket, EncryptionKeys: w.cfg.EncryptionKeys})
	if err != nil && !w.spoilt.Load() && !errors.Is(err, driftdb.ErrNoBackup) {
		w.fatal("read the manifest: %v", err)
	}
	return info.NodeID, info.Epoch
}

// observe asks the bucket's writer what it was told is stored.
func (w *world) observe() {
	node, epoch := w.writer()
	for _, m := range slices.Clone(w.machines) {
		m.forwarded()
		if m.db == nil || m.cfg.NodeID != node || m.epoch.Load() != epoch {
			continue
		}
		got := m.db.Metrics()
		safe := got.SyncedSequence
		if w.cfg.MaxLogBytes > 0 {
			safe = 0 // where an unsent log was given up there is a barrier, too
		}
		for _, b := range m.barriers { // what lies behind one waits for its snapshot
			if b > got.ConfirmedSequence && b <= safe {
				safe = b - 1
			}
		}
		w.acknowledged(m, max(safe, got.ConfirmedSequence))
	}
}

// acknowledged notes that all changes of m up to sequence are safe.
func (w *world) acknowledged(m *machine, sequence int64) {
	if sequence <= w.sent.sequence {
		return
	}
	w.note("%s has acknowledged %d", m, sequence)
	for m.parent != nil && sequence <= m.from {
		m = m.parent // who made that change
	}
	w.sent = place{m, sequence}
}

// prove finds the machine whose state a restore of the latest change has given.
func (w *world) prove(sequence int64, dump string) *machine {
	if sequence < w.sent.sequence && !w.spoilt.Load() {
		w.fatal("restored up to %d, but %d of %s was acknowledged", sequence, w.sent.sequence, w.sent.m)
	}
	machines := w.machines
	if w.sent.m != nil { // two may have made the same change, and this one's was stored
		machines = append([]*machine{w.sent.m}, machines...)
	}
	var why error
	for _, m := range machines {
		s, known := m.state(sequence)
		if !known || !m.continues(w.sent) && !w.spoilt.Load() {
			continue
		}
		err := dbtest.CompareDumps(s.dump, dump)
		if err == nil {
			return m
		}
		why = errors.Join(why, fmt.Errorf("as %s was: %w", m, err))
	}
	w.fatal("restored up to %d: nobody ever had that\n%v", sequence, why)
	return nil
}

// restore restores by way of store, and returns what it got. An error that
// must not be ends the test.
func (w *world) restore(store objstore.Store, cfg driftdb.RestoreConfig) (driftdb.RestoreResult, string, error) {
	cfg.Name, cfg.Path, cfg.Store, cfg.EncryptionKeys = w.cfg.Name, w.newPath(), store, w.cfg.EncryptionKeys
	res, err := driftdb.Restore(context.Background(), cfg)
	w.note("restore to %d %v: sequence %d, %v", cfg.Sequence, cfg.At, res.Sequence, err)
	if err != nil {
		if !w.expected(err) {
			w.fatal("restore: %v", err)
		}
		return res, "", err
	}
	dump, err := dbtest.Dump(cfg.Path)
	if err != nil {
		w.fatal("%v", err)
	}
	return res, dump, nil
}

// checkLatest restores the latest change. With a bucket that works it has to.
func (w *world) checkLatest(store objstore.Store) {
	w.observe()
	res, dump, err := w.restore(store, driftdb.RestoreConfig{Seen: w.seen})
	switch {
	case err == nil:
		w.seen = res.Confirmed
		w.prove(res.Sequence, dump)
	case w.spoilt.Load() || store != w.bucket:
	case errors.Is(err, driftdb.ErrNoBackup) && w.sent.sequence == 0:
	default:
		w.fatal("the backup cannot be restored: %v", err)
	}
}

// checkEarlier restores a point of the past, of what is acknowledged.
func (w *world) checkEarlier(store objstore.Store) {
	w.observe()
	if w.sent.sequence == 0 {
		return
	}
	// At a time, what counts is the last commit that is not later.
	sequence := 1 + w.rnd.Int64N(w.sent.sequence)
	cfg := driftdb.RestoreConfig{Sequence: sequence}
	want, s := w.sent.m.before(sequence)
	if byTime := w.one(2); byTime && s.dump != "" {
		cfg = driftdb.RestoreConfig{At: s.at}
		for next := want + 1; next <= w.sent.sequence; next++ {
			if later, known := w.sent.m.state(next); known && later.at.UnixMilli() <= s.at.UnixMilli() {
				want, s = next, later
			}
		}
	}
	res, dump, err := w.restore(store, cfg)
	if err != nil {
		if !w.spoilt.Load() && store == w.bucket && !w.mayMiss(s, err) {
			w.fatal("sequence %d, of %s, cannot be restored: %v", want, s.at, err)
		}
		return
	}
	if cfg.Sequence == 0 && res.Sequence > w.sent.sequence && w.sent.sequence == want {
		w.prove(res.Sequence, dump) // what followed in the same instant was stored, too
		return
	}
	if res.Sequence < want && w.spoilt.Load() {
		w.prove(res.Sequence, dump) // an altered batch that the manifest does not confirm yet ends the history
		return
	}
	if res.Sequence != want {
		w.fatal("restored %d, want %d", res.Sequence, want)
	}
	if err := dbtest.CompareDumps(s.dump, dump); err != nil {
		w.fatal("sequence %d is not what it was: %v", want, err)
	}
}

// checkBranches restores what writers that lost have left beside the history:
// the database of one of them. A branch that nobody has told of may be
// incomplete; all others have to be there.
func (w *world) checkBranches() {
	info, err := systemtest.InfoOf(context.Background(), driftdb.BackupConfig{Name: w.cfg.Name, Store: w.bucket, EncryptionKeys: w.cfg.EncryptionKeys})
	if err != nil && !w.expected(err) {
		w.fatal("%v", err)
	}
	for _, b := range info.Branches {
		res, dump, err := w.restore(w.bucket, driftdb.RestoreConfig{Branch: b.ID})
		if err != nil {
			continue
		}
		if kept, told := w.branches.Load(b.ID); told && res.Sequence >= kept.(branchKept).to {
			w.branches.Delete(b.ID)
		}
		if !slices.ContainsFunc(w.machines, func(m *machine) bool {
			s, known := m.state(res.Sequence)
			return known && s.dump == dump
		}) {
			w.fatal("branch %s, restored up to %d: nobody ever had that", b.ID, res.Sequence)
		}
	}
	w.branches.Range(func(id, kept any) bool {
		if old := time.Since(kept.(branchKept).at); !w.spoilt.Load() && (w.cfg.Retention <= 0 || old <= w.cfg.Retention) {
			w.fatal("branch %s up to %d was stored %s ago, and cannot be restored; there are %+v", id, kept.(branchKept).to, old, info.Branches)
		}
		return true
	})
}

// mayMiss says whether a point in time need not be restorable: behind a
// barrier, before the first commit, or out of the window.
func (w *world) mayMiss(s state, err error) bool {
	switch {
	case !errors.Is(err, driftdb.ErrNoBackup):
		return false
	case s.dump == "":
		return true
	case strings.Contains(err.Error(), "choose an earlier or a later point"):
		return w.barriers
	}
	return w.cfg.Retention > 0 && time.Since(s.at) > w.cfg.Retention
}
