package faults_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestEveryStep tells one story, in which a database is written, uploaded,
// merged, put into snapshots, pruned, taken over, and left behind as a branch.
// It lets the process die before and after every call of the store and after
// every commit that SQLite makes between them. Each time the disk is opened
// again with the bucket as it was then, and the invariant has to hold.
func TestEveryStep(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		w := &world{TB: t, rnd: rand.New(rand.NewPCG(1, 1)), dir: dir, bucket: objstore.Mem()}
		w.cfg = driftdb.Config{
			Name: "app", AutoRestore: true, ManualSync: true, MaxBatchSize: 1, SnapshotEvery: 40,
			Retention: 3 * 24 * time.Hour, Retry: driftdb.RetryPolicy{MaxRetries: -1},
		}
		c := &camera{world: w, turn: make(chan struct{}, 1)}
		c.story()
		every := 1
		if testing.Short() {
			every = 10
		}
		for i := 0; i < len(c.shots); i += every {
			c.check(c.shots[i])
		}
		t.Logf("the process died in %d ways: at %d calls, and after %d commits", len(c.shots), c.calls, len(c.shots)-2*c.calls)
	})
}

// story is what happens if nobody dies.
func (c *camera) story() {
	first := c.machine()
	for range 4 {
		first.write()
	}
	first.flush()
	c.off = true // these are like those before them
	for range 60 {
		first.write()
	}
	first.flush()
	c.off = false
	for range 4 { // more than 64 batches: they are merged
		first.write()
	}
	first.flush()
	first.vacuum()
	first.write()
	first.flush()
	for range 4 { // days, after which there is something to prune, and to delete
		time.Sleep(50 * time.Hour)
		first.write()
		first.snapshot()
		if _, _, err := first.db.CollectGarbage(c.Context()); err != nil {
			c.fatal("collect: %v", err)
		}
	}
	second := c.machine()
	second.write()
	second.flush()
	first.write()
	first.write()
	first.flush() // is fenced, and stores its branch
	if !first.lost {
		c.fatal("%s was not fenced", first)
	}
	second.write()
	second.flush()
	second.stop()
}

// camera stands between machines and the bucket, lets one call through at a
// time, and takes shots of what would be left if the process died now.
type camera struct {
	*world
	turn  chan struct{}
	off   bool
	calls int
	shots []shot
	last  *shot // the one before, with nothing left out in between
}

// shot is a disk and the bucket at one moment.
type shot struct {
	what   string
	m      *machine
	db     []byte
	mtime  time.Time
	wal    []byte
	note   []byte // the file with the lock, and how the file was left
	bucket map[string][]byte
	sent   place // acknowledged by then
}

// machine starts one that is under the camera's eye.
func (c *camera) machine() *machine {
	m := c.newMachine()
	m.cfg.Store = lens{c, m}
	if !m.start() {
		c.fatal("%s does not start", m)
	}
	return m
}

// shoot takes a shot of the disk that m has, and one for each commit since the
// one before: the WAL tells where they ended.
func (c *camera) shoot(m *machine, what string) {
	if c.off || m.db == nil { // a restore does not die: it leaves nothing
		c.last = nil
		return
	}
	s := shot{what: fmt.Sprintf("%d: %s, %s", c.calls, m, what), m: m, bucket: map[string][]byte{}}
	for info, err := range c.bucket.List(context.Background(), "", objstore.ListOptions{}) {
		if err != nil {
			c.Error(err)
			return
		}
		s.bucket[info.Key] = c.object(info.Key)
	}
	s.sent = c.sent
	if node, epoch := c.writer(); node == m.cfg.NodeID && epoch == m.epoch.Load() && len(m.barriers) == 0 {
		if n := m.db.Metrics().SyncedSequence; n > s.sent.sequence {
			s.sent = place{m, n}
		}
	}
	if err := s.disk(m.cfg.Path); err != nil {
		c.Error(err)
		return
	}
	if c.last != nil && c.last.m == m {
		c.shots = append(c.shots, c.last.commits(s)...)
	}
	c.shots = append(c.shots, s)
	c.last = &s
}

func (c *camera) object(key string) []byte {
	body, _, err := c.bucket.Get(context.Background(), key, objstore.GetOptions{})
	if err != nil {
		c.Error(err)
		return nil
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		c.Error(err)
	}
	return data
}

func (s *shot) disk(path string) error {
	clone := path + cloneSuffix
	err := systemtest.CloneDisk(path, clone)
	if err != nil {
		return err
	}
	info, err := os.Stat(clone)
	if err != nil {
		return err
	}
	s.mtime = info.ModTime()
	for suffix, to := range map[string]*[]byte{"": &s.db, "-wal": &s.wal, "-lock": &s.note} {
		if *to, err = os.ReadFile(clone + suffix); err != nil {
			return err
		}
	}
	return nil
}

// commits gives the disks that there were between s and next, after each commit.
// In the WAL a frame ends a commit if it says how large the database is then.
func (s shot) commits(next shot) []shot {
	const header, frame = 32, 24
	if len(s.wal) < header || len(next.wal) <= len(s.wal) || !bytes.Equal(s.wal[:header], next.wal[:header]) {
		return nil // nothing, or the WAL has begun anew
	}
	size := frame + int(binary.BigEndian.Uint32(next.wal[8:]))
	var out []shot
	for at := header; at+size < len(next.wal); at += size {
		current := bytes.Equal(next.wal[at+8:at+16], next.wal[16:24]) // and not left from before
		if end := at + size; end > len(s.wal) && current && binary.BigEndian.Uint32(next.wal[at+4:]) != 0 {
			cut := s
			cut.what, cut.wal = fmt.Sprintf("%s, and %d bytes of the WAL", s.what, end), next.wal[:end]
			out = append(out, cut)
		}
	}
	return out
}

// check opens the disk of a shot with the bucket of that shot.
func (c *camera) check(s shot) {
	w := &world{TB: c.TB, rnd: c.rnd, dir: filepath.Join(c.dir, "check"), bucket: objstore.Mem(), cfg: c.cfg, sent: s.sent, machines: c.machines, barriers: true, starts: c.starts}
	w.journal = append(w.journal, c.journal...)
	w.note("died at %s", s.what)
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		w.fatal("%v", err)
	}
	defer os.RemoveAll(w.dir)
	for key, data := range s.bucket {
		if _, err := w.bucket.Put(w.Context(), key, bytes.NewReader(data), objstore.PutOptions{}); err != nil {
			w.fatal("%v", err)
		}
	}
	w.checkLatest(w.bucket)
	w.goOn(s)
}

// goOn starts the process again. It has to go on, unless another machine does.
func (w *world) goOn(s shot) {
	cfg := s.m.cfg
	cfg.Store, cfg.Path = w.bucket, w.newPath()
	for suffix, data := range map[string][]byte{"": s.db, "-wal": s.wal, "-lock": s.note} {
		if err := os.WriteFile(cfg.Path+suffix, data, 0o600); err != nil {
			w.fatal("%v", err)
		}
	}
	if err := os.Chtimes(cfg.Path, s.mtime, s.mtime); err != nil {
		w.fatal("%v", err)
	}
	db, err := driftdb.Open(w.Context(), cfg)
	if err != nil {
		w.fatal("open: %v", err)
	}
	defer db.Close()
	dump, err := dbtest.Dump(cfg.Path)
	if err != nil {
		w.fatal("%v", err)
	}
	// After a death a file cannot always be shown to be as we left it. Then
	// there is a barrier.
	was, known := s.m.state(db.Sequence())
	before, _ := s.m.state(db.Sequence() - 1)
	if known && was.dump != dump && before.dump != dump {
		w.fatal("at %d the file is not what it was:\n%s", db.Sequence(), dbtest.Diff(was.dump, dump))
	}
	// It may have died before it had a table.
	if _, err = db.Exec(w.Context(), "CREATE TABLE IF NOT EXISTS k(a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO k(a, b) VALUES('after death', 1)"); err == nil {
		err = db.Flush(w.Context())
	}
	if node, _ := w.writer(); errors.Is(err, driftdb.ErrDiverged) && node != cfg.NodeID {
		return
	}
	if err != nil {
		w.fatal("flush: %v", err)
	}
	res, restored, err := w.restore(w.bucket, driftdb.RestoreConfig{})
	if err != nil || res.Sequence != db.Sequence() {
		w.fatal("restored up to %d, not %d: %v", res.Sequence, db.Sequence(), err)
	}
	if dump, err = dbtest.Dump(cfg.Path); err == nil {
		err = dbtest.CompareDumps(dump, restored)
	}
	if err != nil {
		w.fatal("%v", err)
	}
}

// lens is the store of one machine.
type lens struct {
	c *camera
	m *machine
}

// call takes shots before and after a call.
func (l lens) call(what, key string, fn func()) {
	l.c.turn <- struct{}{}
	defer func() { <-l.c.turn }()
	if !l.c.off && l.m.db != nil {
		l.c.calls++
	}
	l.c.shoot(l.m, fmt.Sprintf("before %s %s", what, key))
	fn()
	l.c.shoot(l.m, fmt.Sprintf("after %s %s", what, key))
}

func (l lens) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (info objstore.Info, err error) {
	l.call("put", key, func() { info, err = l.c.bucket.Put(ctx, key, body, opts) })
	return info, err
}

func (l lens) Get(ctx context.Context, key string, opts objstore.GetOptions) (body io.ReadCloser, info objstore.Info, err error) {
	if systemtest.Beside() { // no step waits for that, and it stores nothing
		return l.c.bucket.Get(ctx, key, opts)
	}
	l.call("get", key, func() { body, info, err = l.c.bucket.Get(ctx, key, opts) })
	return body, info, err
}

func (l lens) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return l.c.bucket.List(ctx, prefix, opts)
}

func (l lens) Delete(ctx context.Context, key string) (err error) {
	l.call("delete", key, func() { err = l.c.bucket.Delete(ctx, key) })
	return err
}
