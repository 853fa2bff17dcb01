package worldtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// The matrix of followers: what happens to a file in TestMatrix happens to the file of a
// follower, while the writer goes on elsewhere. Afterwards
//
//   - nothing is gone that belongs to somebody else, and no second follower or writer has the
//     file;
//   - the follower has what the writer has flushed, or says why not;
//   - the next follower has it, and its file is the writer's: by itself, or after what the error
//     says was done.
var followWhens = []string{"following", "applying", "restoring", "resuming", "in between"}

// follow runs the commands of a program that follows.
func (c *child) follow(ctx context.Context, command string, args []string) (more string, err error) {
	switch command {
	case "follow": // path, store
		store, err := objstore.Dir(args[1])
		if err != nil {
			return "", err
		}
		backup, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{
			Name: "app", Store: holding{store, &c.holds}, Retry: driftdb.RetryPolicy{MaxRetries: -1},
		})
		if err != nil {
			return "", err
		}
		c.follower, err = backup.Follow(ctx, args[0], driftdb.FollowConfig{PollInterval: 20 * time.Millisecond, OnEvent: c.tell})
		return "", err
	case "reach": // a sequence, or say why not
		at, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return "", err
		}
		ctx, cancel := context.WithTimeout(ctx, 50*time.Second)
		defer cancel()
		if err = c.follower.WaitFor(ctx, at); errors.Is(err, context.DeadlineExceeded) {
			err = errors.Join(err, c.follower.Metrics().LastError)
		}
		return "", err
	case "leave":
		if c.follower == nil {
			return "", nil
		}
		return "", c.follower.Close()
	}
	return "", errors.New("no such command")
}

// TestFollowersMatrix: see above.
func TestFollowersMatrix(t *testing.T) {
	playAll(t, len(whats)*len(followWhens)*len(thens), 2*len(whats), playFollower)
}

// followed is a case: a world whose file is a follower's, and the writer elsewhere.
type followed struct {
	world
	writer *program
	rows   int // that the writer has flushed
}

func playFollower(t *testing.T, n int, s seeds, mounts bool) {
	w := &followed{world: world{T: t, rnd: rand.New(rand.NewPCG(uint64(n), 11)), dir: folder(t, "d", "old"), mounts: mounts, follows: true}, rows: seedRows}
	w.what, w.when, w.then = whats[n%len(whats)], followWhens[n/len(whats)%len(followWhens)], thens[n/len(whats)/len(followWhens)%len(thens)]
	w.folder, w.store = filepath.Join(w.dir, "d"), filepath.Join(w.dir, "store")
	w.path = filepath.Join(w.folder, "app.sqlite")
	clone(t, s.store, w.store)
	clone(t, s.new, filepath.Join(w.dir, "writer"))
	for _, name := range []string{"notes.txt", "app.sqlite.bak", "app.sqlite-wal.mine"} {
		systemtest.Check(t, os.WriteFile(filepath.Join(w.folder, name), []byte(name), 0o644))
	}
	w.writer = start(t, filepath.Join(w.dir, "writer"))
	w.writer.must("open", "app.sqlite", w.store, "manual")
	defer func() {
		if t.Failed() {
			t.Logf("%s while %s, then %s (go test ./internal/worldtest -run TestFollowersMatrix -worlds %d); events: %q", w.what, w.when, w.then, n, w.p.told())
		}
	}()
	w.play()
}

// write commits rows, and returns the writer's sequence after them.
func (w *followed) write(n int) (sequence string) {
	w.writer.must("insert", fmt.Sprint(w.rows+1), fmt.Sprint(n))
	w.writer.must("flush")
	w.rows += n
	return w.writer.must("sequence")
}

func (w *followed) play() {
	w.before()
	w.p = start(w, w.folder)
	var following <-chan string
	switch w.when {
	case "following":
		w.p.must("follow", w.path, w.store)
		w.p.must("reach", w.write(5))
	case "applying":
		w.p.must("follow", w.path, w.store)
		w.p.must("hold", "get logs")
		w.write(5)
		<-w.p.held
	case "restoring", "resuming":
		w.p.must("hold", "get logs")
		following = w.p.begin("follow", w.path, w.store)
		if w.begins = w.when == "resuming" && w.rnd.IntN(2) != 0; !w.begins {
			<-w.p.held
		}
	}
	w.happen()
	if w.then == "kill" || w.when == "in between" {
		w.p.kill()
		w.again()
		return
	}
	w.p.must("release")
	follows := following == nil || w.note(w.p.answer(following))
	if w.then == "go on" && follows {
		if answer := w.p.do("reach", w.write(5)); !w.note(answer) && !w.hasReason(answer) {
			w.Errorf("it does not go on: %s", answer)
		}
	}
	w.note(w.p.do("leave"))
	w.p.kill()
	w.again()
}

// before makes the file that a follower finds, and an older copy of it.
func (w *followed) before() {
	q := start(w, w.folder)
	q.must("follow", w.path, w.store)
	q.must("leave")
	q.kill()
	copyFile(w, w.path, filepath.Join(w.dir, "old", "app.sqlite"))
	if w.when == "restoring" {
		for _, suffix := range []string{"", "-wal", "-shm", "-lock"} {
			_ = os.Remove(w.path + suffix) // some are not there
		}
		return
	}
	w.write(5)
}

// hasReason says whether an error says what has happened to the file.
func (w *followed) hasReason(answer string) bool {
	for _, why := range []string{"is not the file", "not a database", "malformed", "truncated", "was removed", "was replaced", "has just been", "is open elsewhere", "no such file"} {
		if strings.Contains(answer, why) {
			return true
		}
	}
	return false
}

// again follows once more, and holds the file against the writer's.
func (w *followed) again() {
	w.intact()
	at := w.write(5)
	w.p = start(w, w.folder)
	if answer := w.p.do("follow", w.path, w.store); !w.note(answer) {
		if !w.hasReason(answer) && !strings.Contains(answer, "not a follower") {
			w.Errorf("followed again: %s", answer)
		}
		w.intact()
		w.p.kill()
		w.moveAway()
		w.p = start(w, w.folder)
		w.p.must("follow", w.path, w.store)
	}
	w.p.must("reach", at)
	w.p.must("leave")
	w.p.kill()
	w.writer.end()
	if err := dbtest.Compare(filepath.Join(w.dir, "writer", "app.sqlite"), w.path); err != nil {
		w.Error("at the end: ", err)
	}
}
