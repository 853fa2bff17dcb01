package writers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// contest is one database name in one bucket, and two rivals that write to it.
// The second one, B, gets its disk when it is first opened.
type contest struct {
	contestKind
	dir     string
	bucket  objstore.Store
	rivals  [2]*rival
	acked   map[string]time.Time // rows of which some writer was told that the bucket has them, and when first
	reached bool                 // the request at which that happens was made

	followed []string // rows that the follower had last
	ended    bool     // everything is confirmed
}

// contestKind is what differs between contests.
type contestKind struct {
	clone bool // B's disk is a copy of A's, node id and all; otherwise it is restored from the bucket
	asks  bool // Open compares the file with the bucket, and takes it over

	follows bool // a follower looks at the bucket after each step
}

func (k contestKind) String() string {
	return fmt.Sprintf("clone=%v,asks=%v,follows=%v", k.clone, k.asks, k.follows)
}

// rival is a machine: a disk, and a database that is open on it or not.
type rival struct {
	contest *contest
	name    string
	clone   bool
	path    string
	store   *objstoretest.Faulty // its way to the bucket
	db      *driftdb.DB
	rows    []string // what its disk holds, in the order of commits
	at      []int64  // their sequences
	made    int      // rows that were written here
	told    bool     // this session was told that it has lost
	node    string
	held    atomic.Bool // a request of its waits until the other one has made a step
}

// contestRetention is shorter than two collections take: what the second one
// finds to be too old is gone after the third.
const contestRetention = 30 * time.Hour

func newContest(kind contestKind, dir string) *contest {
	w := &contest{contestKind: kind, dir: dir, bucket: objstore.Mem(), acked: map[string]time.Time{}}
	for i, name := range []string{"A", "B"} {
		w.rivals[i] = &rival{
			contest: w, name: name, clone: kind.clone && i == 1,
			path: filepath.Join(dir, name+".sqlite"), store: objstoretest.Break(w.bucket, nil),
		}
	}
	return w
}

// step is something that a machine does. If by is set, the other machine does
// that just before the request number at which the step makes.
type step struct {
	who int // 0 is A
	op  string
	at  int
	by  *step
}

var ops = []string{"open", "write", "tick", "flush", "snapshot", "gc", "close"}

func (s step) String() string {
	out := string("AB"[s.who]) + "." + s.op
	if s.by != nil {
		out += fmt.Sprintf("@%d(%s)", s.at, s.by)
	}
	return out
}

var stepPattern = regexp.MustCompile(`^([AB])\.([a-z]+)(?:@(\d+)\((.*)\))?$`)

// steps reads what String has written, with spaces between.
func steps(text string) (out []step) {
	for _, word := range strings.Fields(text) {
		m := stepPattern.FindStringSubmatch(word)
		if m == nil || !slices.Contains(ops, m[2]) {
			panic("not a step: " + word)
		}
		s := step{who: strings.Index("AB", m[1]), op: m[2]}
		if m[4] != "" {
			if _, err := fmt.Sscan(m[3], &s.at); err != nil {
				panic(err)
			}
			s.by = &steps(m[4])[0]
		}
		out = append(out, s)
	}
	return out
}

// possible are the steps that can be made now.
func (w *contest) possible() (out []step) {
	for i, m := range w.rivals {
		for _, op := range ops {
			if m.can(op) {
				out = append(out, step{who: i, op: op})
			}
		}
	}
	return out
}

// do makes a step; an impossible one is none. An error is a broken promise.
func (w *contest) do(s step) error {
	m := w.rivals[s.who]
	if !m.can(s.op) {
		return nil
	}
	var inner error
	if s.by != nil {
		var requests atomic.Int64
		m.store.SetHook(func(objstoretest.Call) objstoretest.Fault {
			if systemtest.Beside() {
				return objstoretest.Fault{}
			}
			if requests.Add(1) == int64(s.at) {
				m.held.Store(true)
				inner, w.reached = w.do(*s.by), true
				m.held.Store(false)
			}
			return objstoretest.Fault{}
		})
		defer m.store.SetHook(nil)
	}
	if err := errors.Join(m.do(s.op), inner); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	w.note()
	return nil
}

// note remembers what writers have been told that the bucket has.
func (w *contest) note() {
	for _, m := range w.rivals {
		if m.db == nil {
			continue
		}
		synced := m.db.Metrics().SyncedSequence
		for i, row := range m.rows {
			if _, known := w.acked[row]; !known && m.at[i] <= synced {
				w.acked[row] = time.Now()
			}
		}
	}
}

func (m *rival) can(op string) bool {
	if op != "open" {
		return m.db != nil
	}
	return m.db == nil && (!m.clone || systemtest.Exists(m.path) || systemtest.Exists(m.contest.rivals[0].path))
}

func (m *rival) do(op string) error {
	ctx := context.Background()
	var err error
	switch op {
	case "open":
		return m.open(ctx)
	case "close":
		db := m.db
		m.db = nil
		return db.Close()
	case "write":
		return m.write(ctx)
	case "tick":
		m.tick()
		err = m.db.Metrics().LastError
	case "flush":
		err = m.db.Flush(ctx)
	case "snapshot":
		_, err = m.db.Snapshot(ctx)
	case "gc":
		time.Sleep(25 * time.Hour) // at most one collection a day finds anything
		_, _, err = m.db.CollectGarbage(ctx)
	}
	switch {
	case lost(err):
		m.told = true
	case err != nil:
		return err
	case m.told:
		return errors.New("it has lost the database, and was told nothing")
	case m.db.Metrics().SyncedSequence != m.db.Sequence():
		return fmt.Errorf("%d changes are not in the bucket, and there is no error", m.db.Metrics().PendingChanges)
	}
	return nil
}

func lost(err error) bool {
	return errors.Is(err, driftdb.ErrFenced) || errors.Is(err, driftdb.ErrDiverged)
}

func (m *rival) open(ctx context.Context) error {
	fresh := !systemtest.Exists(m.path)
	if fresh && m.clone {
		// The other one may write on while this one opens its copy.
		m.rows, m.at = slices.Clone(m.contest.rivals[0].rows), slices.Clone(m.contest.rivals[0].at)
		if err := systemtest.CopyDisk(ctx, m.contest.rivals[0].path, m.path); err != nil {
			return err
		}
	}
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "app", Path: m.path, Store: m.store, ManualSync: !m.contest.asks, AutoRestore: !m.clone,
		ManifestInterval: 1000 * time.Hour, // a tick never replaces the manifest, but to take an epoch
		Retention:        contestRetention, Retry: driftdb.RetryPolicy{MaxRetries: -1},
	})
	if lost(err) && m.contest.asks {
		return nil // the file is refused; nothing was open, so nothing was promised
	}
	if err != nil {
		return err
	}
	db.StopSync()
	m.db, m.told, m.node = db, false, db.NodeID()
	if db.Sequence() == 0 {
		_, err = db.Exec(ctx, "CREATE TABLE t(id INTEGER PRIMARY KEY, row TEXT UNIQUE)")
	} else {
		err = m.caughtUp(ctx)
	}
	return err
}

// caughtUp takes over the rows that a disk, new or without any of its own, has
// got from the bucket: when it was opened, or before the engine's first upload.
func (m *rival) caughtUp(ctx context.Context) error {
	rows, err := driftdb.Select[string](ctx, m.db, "SELECT row FROM t ORDER BY id")
	if err != nil || len(rows) <= len(m.rows) || !slices.Equal(rows[:len(m.rows)], m.rows) {
		return err
	}
	m.at = append(m.at, make([]int64, len(rows)-len(m.rows))...)
	m.rows = rows
	return nil
}

// forwarded is caughtUp for a disk whose last row is its own, written behind what it got.
func (m *rival) forwarded(ctx context.Context) error {
	rows, err := driftdb.Select[string](ctx, m.db, "SELECT row FROM t ORDER BY id")
	before, last := len(m.rows)-1, len(rows)-1
	if err != nil || last <= before || !slices.Equal(rows[:before], m.rows[:before]) || rows[last] != m.rows[before] {
		return err
	}
	m.at = slices.Insert(m.at, before, make([]int64, last-before)...)
	m.rows = rows
	return nil
}

func (m *rival) write(ctx context.Context) error {
	if err := m.caughtUp(ctx); err != nil {
		return err
	}
	m.made++
	row := fmt.Sprint(m.name, m.made)
	_, err := m.db.Exec(ctx, "INSERT INTO t(row) VALUES(?)", row)
	switch {
	case lost(err) && m.told:
		return nil
	case err == nil && m.told:
		return errors.New("it has lost the database, and still takes writes")
	case err == nil: // before it, the file may have been brought up to date
		m.rows, m.at = append(m.rows, row), append(m.at, m.db.Sequence())
		return m.forwarded(ctx)
	}
	return err
}

// tick lets the engine run in the background for a while.
func (m *rival) tick() {
	m.db.StartSync()
	time.Sleep(time.Minute)
	for m.held.Load() {
		time.Sleep(time.Hour)
	}
	synctest.Wait()
	m.db.StopSync()
}

// close ends the contest.
func (w *contest) close() error {
	var errs []error
	for _, m := range w.rivals {
		if m.db != nil {
			errs = append(errs, m.db.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

// check is what must be true at any time: the history is one that a single
// writer has made, and every acknowledged row is in it or in a branch.
func (w *contest) check() error {
	ctx := context.Background()
	info, err := systemtest.InfoOf(ctx, driftdb.BackupConfig{Name: "app", Store: w.bucket})
	if errors.Is(err, driftdb.ErrNoBackup) && len(w.acked) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	history, err := w.restored(ctx, "")
	if err != nil {
		return fmt.Errorf("restore the history: %w", err)
	}
	found := map[string]bool{}
	for _, row := range history {
		found[row] = true
	}
	for _, b := range info.Branches {
		rows, err := w.restored(ctx, b.ID)
		if err != nil {
			return fmt.Errorf("restore branch %s (%d to %d): %w", b.ID, b.From, b.To, err)
		}
		for _, row := range rows {
			found[row] = true
		}
	}
	for row, at := range w.acked {
		if !found[row] && time.Since(at) <= contestRetention {
			return fmt.Errorf("row %s, which was acknowledged, is neither in the history %q nor in one of the branches %+v", row, history, info.Branches)
		}
	}
	return w.followedAll(history, w.ended)
}

// restored are the rows of the history, or of a branch.
func (w *contest) restored(ctx context.Context, branch string) (rows []string, err error) {
	path := filepath.Join(w.dir, "restored.sqlite")
	res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Store: w.bucket, Path: path, Overwrite: true, Branch: branch})
	if err != nil {
		return nil, err
	}
	if res.Sequence == 0 { // taken over before there was anything
		return nil, nil
	}
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	err = c.Each("SELECT row FROM t ORDER BY id", func(st *sqlite.Stmt) error {
		rows = append(rows, st.Text(0))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range w.rivals {
		if len(rows) <= len(m.rows) && slices.Equal(rows, m.rows[:len(rows)]) {
			return rows, nil
		}
	}
	return nil, fmt.Errorf("restored %q, which no writer ever had: A has %q, B %q", rows, w.rivals[0].rows, w.rivals[1].rows)
}

// finish brings both rivals up and lets them write on. One of them is the
// writer, and the other one is told that it is not.
//
// A session that takes over fences the other one before it can know what that one
// has uploaded last, and then may find that its own file has diverged. Both are
// told so, and the other one's next session goes on.
func (w *contest) finish() error {
	going, err := w.goOn()
	if err == nil && len(going) == 0 && slices.ContainsFunc(w.rivals[:], (*rival).diverged) {
		for i := range w.rivals {
			if err := w.do(step{who: i, op: "close"}); err != nil {
				return err
			}
		}
		going, err = w.goOn()
	}
	if err != nil {
		return err
	}
	if len(going) != 1 {
		return fmt.Errorf("of the two writers, %d can go on; want one", len(going))
	}
	if err := w.do(step{who: going[0], op: "flush"}); err != nil {
		return err
	}
	w.ended = true
	return w.check()
}

// diverged reports whether m's session has found that its file is not the bucket's.
func (m *rival) diverged() bool {
	return m.db != nil && errors.Is(m.db.Metrics().LastError, driftdb.ErrDiverged)
}

// goOn opens what is closed and lets both write. It returns those that are not told
// that they have lost.
func (w *contest) goOn() (going []int, err error) {
	for i, m := range w.rivals {
		if systemtest.Exists(m.path) {
			if err := w.do(step{who: i, op: "open"}); err != nil {
				return nil, err
			}
		}
	}
	for range 2 { // the first one may hear only then that the second has taken over
		for i := range w.rivals {
			for _, op := range []string{"write", "flush", "write"} {
				if err := w.do(step{who: i, op: op}); err != nil {
					return nil, err
				}
			}
		}
	}
	for i, m := range w.rivals {
		if m.db != nil && !m.told {
			going = append(going, i)
		}
	}
	return going, nil
}

// looks describes the contest, leaving out what is random: those that look alike
// go on alike.
func (w *contest) looks() string {
	var b strings.Builder
	var names []string // what is to be left out, and what to say instead
	for _, m := range w.rivals {
		fmt.Fprint(&b, m.name, m.rows, m.made, m.told, systemtest.Exists(m.path))
		if m.db != nil {
			s := m.db.Metrics()
			fmt.Fprint(&b, "open", s.SyncedSequence, s.ConfirmedSequence, s.Requests > 0, s.LastSnapshotAt.IsZero())
		}
		if m.node != "" {
			names = append(names, m.node, "node of "+m.name)
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprint(&b, strings.NewReplacer(names...).Replace(w.objects()))
	return wildNodes.ReplaceAllString(b.String(), "/another")
}

var (
	wildNames  = regexp.MustCompile(`"(nonce|sha256|mac|checksum|chain|chainHead|databaseId|updatedAt)": *("[^"]*"|\d+)`)
	wildTimes  = regexp.MustCompile(`\b9\d{11}\b|\b1\d{12}\b`)
	wildNodes  = regexp.MustCompile(`/[0-9a-f]{12}\b`)
	wildDigest = regexp.MustCompile(`"digests": \{[^}]*\}`)
)

// objects lists the bucket's keys, and prints the manifest.
func (w *contest) objects() string {
	var b strings.Builder
	for info, err := range w.bucket.List(context.Background(), "", objstore.ListOptions{}) {
		fmt.Fprintln(&b, info.Key, err)
	}
	body, _, err := w.bucket.Get(context.Background(), "databases/app/manifest.json", objstore.GetOptions{})
	if err != nil {
		return b.String()
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	if err != nil || !json.Valid(raw) {
		return b.String()
	}
	text := wildDigest.ReplaceAllString(string(raw), "")
	text = wildNames.ReplaceAllString(text, "$1")
	return wildTimes.ReplaceAllString(b.String()+text, "time")
}
