package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go"
)

const (
	pastViews = 3                // restored copies at the same time
	pastIdle  = 5 * time.Minute  // after which one that nobody looks at is deleted
	pastLimit = 15 * time.Minute // for one restore
	pastWait  = 3 * time.Second  // of a page for a restore; then it says so, and asks again
)

var (
	// errRestoring means that the copy is being made: the page asks again.
	errRestoring = errors.New("the backup is being restored to a temporary file")
	errPastFull  = errors.New("other points are being looked at; try again in a minute")
	errPastEnded = errors.New("the inspector has been closed")
)

// past keeps a few databases as they were, restored to temporary files. Each restore is a
// goroutine that close waits for, and one restore runs at a time.
type past struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	turn    chan struct{} // who has it restores
	ask     int64         // size of a snapshot, in bytes, from which on a person has to agree to a restore

	mu      sync.Mutex // see unlock
	ended   bool
	views   map[pastKey]*pastView
	dropped []*driftdb.DB // to be closed once mu is free
}

// pastKey is the state of a backup after a change.
type pastKey struct {
	name     string
	sequence int64
}

// pastView is a state that is being restored, or is there.
type pastView struct {
	ready chan struct{} // closed when db and err are set
	db    *driftdb.DB
	err   error
	users int       // pages that read it
	used  time.Time // when the last one began
	idle  *time.Timer
}

func newPast() *past {
	p := &past{turn: make(chan struct{}, 1), ask: 1 << 30, views: map[pastKey]*pastView{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// open returns a state of b, and what to call when the page is done with it. errRestoring
// means that it is not there yet.
func (p *past) open(ctx context.Context, b *driftdb.Backup, key pastKey) (db *driftdb.DB, done func(), err error) {
	s, err := p.use(b, key)
	if err != nil {
		return nil, nil, err
	}
	timer := time.NewTimer(pastWait)
	defer timer.Stop()
	select {
	case <-s.ready:
	case <-timer.C:
		err = errRestoring
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		p.leave(key, s, false)
		return nil, nil, err
	}
	if s.err != nil {
		p.leave(key, s, true)
		return nil, nil, s.err
	}
	return s.db, func() { p.leave(key, s, false) }, nil
}

// has reports whether a state is there, or is being restored.
func (p *past) has(key pastKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.views[key] != nil
}

// use finds a state, or begins to restore it.
func (p *past) use(b *driftdb.Backup, key pastKey) (*pastView, error) {
	p.mu.Lock()
	defer p.unlock()
	if p.ended {
		return nil, errPastEnded
	}
	s := p.views[key]
	if s == nil {
		if !p.makeRoom() {
			return nil, errPastFull
		}
		s = &pastView{ready: make(chan struct{})}
		p.views[key] = s
		p.running.Add(1)
		go p.restore(b, key, s)
	}
	s.users, s.used = s.users+1, time.Now()
	return s, nil
}

// makeRoom drops the state that was looked at longest ago, if there are as many as may be.
func (p *past) makeRoom() bool {
	if len(p.views) < pastViews {
		return true
	}
	var oldest pastKey
	found := false
	for key, s := range p.views {
		if s.users == 0 && s.isReady() && (!found || s.used.Before(p.views[oldest].used)) {
			oldest, found = key, true
		}
	}
	if found {
		p.drop(oldest, p.views[oldest])
	}
	return found
}

func (s *pastView) isReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// restore is the goroutine that makes a state. Nobody else reads or writes its results
// until it closes ready.
func (p *past) restore(b *driftdb.Backup, key pastKey, s *pastView) {
	defer p.running.Done()
	ctx, cancel := context.WithTimeout(p.ctx, pastLimit)
	defer cancel()
	select {
	case p.turn <- struct{}{}:
		s.db, s.err = b.View(ctx, driftdb.Point{Sequence: key.sequence})
		<-p.turn
	case <-ctx.Done():
		s.err = errPastEnded
	}
	p.mu.Lock()
	defer p.unlock()
	close(s.ready)
	p.settle(key, s)
}

// leave ends the use of a state. A failure is forgotten once a page was told, so that the
// next one tries again.
func (p *past) leave(key pastKey, s *pastView, failed bool) {
	p.mu.Lock()
	defer p.unlock()
	if s.users--; failed && s.users == 0 {
		p.drop(key, s)
		return
	}
	p.settle(key, s)
}

// settle decides what becomes of a state once nobody looks at it: it stays for a while.
// p.mu is held.
func (p *past) settle(key pastKey, s *pastView) {
	switch {
	case s.users > 0 || !s.isReady():
	case p.ended:
		p.drop(key, s)
	case s.idle != nil:
		s.idle.Reset(pastIdle)
	default:
		s.idle = time.AfterFunc(pastIdle, func() {
			p.mu.Lock()
			defer p.unlock()
			if s.users == 0 && p.views[key] == s {
				p.drop(key, s)
			}
		})
	}
}

// drop deletes a state. p.mu is held, and nobody looks at it.
func (p *past) drop(key pastKey, s *pastView) {
	if p.views[key] == s {
		delete(p.views, key)
	}
	if s.idle != nil {
		s.idle.Stop()
	}
	if s.db != nil {
		p.dropped = append(p.dropped, s.db)
		s.db = nil
	}
}

// unlock releases mu, and then deletes the files of what was dropped: pages do not wait for
// the disk.
func (p *past) unlock() {
	dropped := p.dropped
	p.dropped = nil
	p.mu.Unlock()
	for _, db := range dropped {
		db.Close() // a view sends nothing, and has nothing to lose
	}
}

// close ends the restores that run, and deletes all states once no page reads them.
func (p *past) close() error {
	p.mu.Lock()
	p.ended = true
	p.cancel()
	for key, s := range p.views {
		p.settle(key, s)
	}
	p.unlock()
	p.running.Wait()
	return nil
}

// then opens the state that a page is about. at is the number of a change or a time; ""
// is the latest.
func (v *visit) then(at string) (db *driftdb.DB, sequence int64, done func(), err error) {
	if sequence, err = v.sequence(at); err != nil {
		return nil, 0, nil, err
	}
	key := pastKey{v.name, sequence}
	if v.URL.Query().Get("sure") == "" && !v.h.past.has(key) {
		if err := v.large(); err != nil {
			return nil, sequence, nil, err
		}
	}
	db, done, err = v.h.past.open(v.ctx, v.backup, key)
	if err != nil {
		return nil, sequence, nil, err
	}
	return db, sequence, done, nil
}

// largeRestore is an error that asks whether to restore this much.
type largeRestore struct{ bytes int64 }

func (e largeRestore) Error() string {
	return fmt.Sprintf("the page restores the database to a temporary file on the machine of the inspector; a snapshot has %s, compressed", size(e.bytes))
}

// large returns an error if a restore is so large that it should not begin by a stray click.
func (v *visit) large() error {
	info, err := v.backup.Info(v.ctx)
	if err != nil {
		return err
	}
	most := int64(0)
	for _, s := range info.Snapshots {
		most = max(most, s.Size)
	}
	if most >= v.h.past.ask {
		return largeRestore{most}
	}
	return nil
}

// sequence is the change after which a point is.
func (v *visit) sequence(at string) (int64, error) {
	if at == "" {
		info, err := v.backup.Info(v.ctx)
		if err == nil && info.Sequence == 0 && len(info.Snapshots) == 0 {
			err = notFound{errors.New("the backup has no changes yet")}
		}
		return info.Sequence, err
	}
	if n, err := number(at, "at"); err == nil {
		return n, nil
	}
	t, err := parseTime(at, "at")
	if err != nil {
		return 0, bad("at is %s, and should be the number of a change, or a time such as 2026-11-29 14:00, in UTC", quoted(shorten(at, 50)))
	}
	last, err := v.one(driftdb.ChangeQuery{Until: t, Reverse: true})
	if err != nil {
		return 0, err
	}
	if last == nil {
		return 0, notFound{fmt.Errorf("the log has nothing from before %s", t.Format(time.DateTime))}
	}
	return last.Sequence, nil
}

// restoring is the page that stands for one whose state is being restored.
func (v *visit) restoring(sequence int64) *view {
	return &view{template: "restoring", Title: "Restoring", Tab: "Tables", Refresh: 2, Body: struct {
		Sequence int64
		Self     string
	}{sequence, v.URL.RequestURI()}}
}
