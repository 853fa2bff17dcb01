package writers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/driftdb/driftdb-go/internal/systemtest"
	"pgregory.net/rapid"
)

// contestKinds are the ways in which two rivals can come to one name.
var contestKinds = []contestKind{{}, {asks: true}, {clone: true}, {clone: true, asks: true}, {follows: true}, {clone: true, asks: true, follows: true}}

// contend begins a new contest, makes the steps, lets both rivals go on, and
// checks what must be true. looks and next are how it was after the
// steps; reached says whether the last one was interrupted.
func contend(t *testing.T, kind contestKind, dir string, path []step) (looks string, next []step, reached bool, err error) {
	synctest.Test(t, func(t *testing.T) {
		w := newContest(kind, dir)
		if err = os.MkdirAll(dir, 0o700); err != nil {
			return
		}
		for _, s := range path {
			if err = w.do(s); err == nil && kind.follows {
				err = w.follow()
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			looks, next, reached = w.looks(), w.possible(), w.reached
			if err = w.check(); err == nil {
				if err = w.finish(); err != nil {
					err = fmt.Errorf("in the end: %w", err)
				}
			}
		}
		if err != nil {
			err = fmt.Errorf("%s: %v: %w\n%s", kind, path, err, w.objects())
		}
		if cerr := w.close(); err == nil {
			err = cerr
		}
	})
	return looks, next, reached, err
}

// TestWritersInterleaved makes all sequences of steps of two rivals, and all
// in which one makes a step between two requests of the other one's. Worlds
// that look alike are gone on from once.
//
// DRIFTDB_DEPTH says how many steps, and DRIFTDB_REQUESTS after how many steps
// another one is interrupted at every request; "make writers" has larger ones.
func TestWritersInterleaved(t *testing.T) {
	depth, requests := systemtest.Setting(t, "DRIFTDB_DEPTH", 3), systemtest.Setting(t, "DRIFTDB_REQUESTS", 1)
	dir := systemtest.MemoryDir(t)
	for _, kind := range contestKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			if kind.clone {
				systemtest.NeedsCopies(t)
			}
			x := &explorer{T: t, kind: kind, dir: filepath.Join(dir, kind.String()), seen: map[string]bool{}}
			x.explore(depth, requests)
			t.Logf("%d contests, %d of them different", x.walks, len(x.seen))
		})
	}
}

type explorer struct {
	*testing.T
	kind  contestKind
	dir   string
	seen  map[string]bool
	walks int
}

// walk returns what can be done after path, or nothing if a path that was
// walked before leads to the same.
func (x *explorer) walk(path []step) (next []step, reached bool) {
	x.walks++
	looks, next, reached, err := contend(x.T, x.kind, filepath.Join(x.dir, strconv.Itoa(x.walks)), path)
	if err != nil {
		x.Fatal(err)
	}
	if x.seen[looks] {
		return nil, reached
	}
	x.seen[looks] = true
	return next, reached
}

func (x *explorer) explore(depth, requests int) {
	frontier := [][]step{steps("A.open A.write A.flush")}
	for n := range depth {
		var further [][]step
		for _, path := range frontier {
			next, _ := x.walk(path)
			for _, s := range next {
				further = append(further, append(slices.Clip(path), s))
			}
			if n <= requests {
				x.interrupt(path, next)
			}
		}
		frontier = further
	}
	for _, path := range frontier {
		x.walk(path)
	}
}

// interrupt makes every step that one machine can make after path, with every
// one of the other machine's in it, before every request.
func (x *explorer) interrupt(path, next []step) {
	for _, s := range next {
		if s.op == "write" || s.op == "close" {
			continue // no requests
		}
		for _, by := range next {
			if by.who == s.who {
				continue
			}
			s.by = &by
			for s.at = 1; ; s.at++ {
				if _, reached := x.walk(append(slices.Clip(path), s)); !reached {
					break
				}
			}
		}
	}
}

// TestWritersAtRandom makes longer sequences of steps than all of which can be
// tried. A failure prints how to repeat it, and the shortest one that fails.
func TestWritersAtRandom(t *testing.T) {
	systemtest.NeedsCopies(t)
	dir := systemtest.MemoryDir(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		kind := rapid.SampledFrom(contestKinds).Draw(rt, "kind")
		path := append(steps("A.open"), rapid.SliceOfN(rapid.Custom(randomStep), 1, 30).Draw(rt, "steps")...)
		if _, _, _, err := contend(t, kind, filepath.Join(dir, strconv.Itoa(runs)), path); err != nil {
			rt.Fatal(err)
		}
	})
}

func randomStep(t *rapid.T) step {
	draw := func(who int) step { return step{who: who, op: rapid.SampledFrom(ops).Draw(t, "op")} }
	s := draw(rapid.IntRange(0, 1).Draw(t, "who"))
	if rapid.IntRange(0, 3).Draw(t, "interrupted") == 0 {
		by := draw(1 - s.who)
		s.at, s.by = rapid.IntRange(1, 12).Draw(t, "request"), &by
	}
	return s
}

// TestWritersOnce repeats what once went wrong.
func TestWritersOnce(t *testing.T) {
	systemtest.NeedsCopies(t)
	dir := systemtest.MemoryDir(t)
	for i, path := range []string{
		"A.open A.flush B.open B.gc A.write A.tick",              // a tick that tidied up found out that it was fenced, and told nobody
		"A.open A.snapshot A.tick B.open B.snapshot A.gc A.tick", // so did a collection, and metrics did not say so
		"A.open A.flush B.open@2(A.write) B.write B.snapshot",    // this contest counted as B's a row that A wrote behind its back
		"A.open B.open A.close B.gc B.write A.open B.tick",       // A takes over and finds that it has diverged: both are told
	} {
		for _, kind := range contestKinds {
			if _, _, _, err := contend(t, kind, filepath.Join(dir, fmt.Sprint(i, kind)), steps(path)); err != nil {
				t.Error(err)
			}
		}
	}
}
