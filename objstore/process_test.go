package objstore_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

func TestMain(m *testing.M) {
	subprocess.Main()
	os.Exit(m.Run())
}

const (
	processes  = 4
	goroutines = 4
	rounds     = 15
)

// Several processes, with several goroutines each, use one folder: of all that
// create a key one wins, no increment of a counter is lost, objects that come
// and go in one folder do not get in each other's way, and all know the folder
// by one mark, which the first of them makes.
func TestDirProcesses(t *testing.T) {
	folder := t.TempDir()
	s, err := objstore.Dir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var wins atomic.Int64
	var wg sync.WaitGroup
	var starts []io.Closer
	for range processes {
		cmd := dirWorker.Command(t.Context(), folder)
		start, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		starts = append(starts, start)
		wg.Go(func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("worker: %v: %s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if n, ok := strings.CutPrefix(strings.TrimSpace(line), "wins "); ok {
					won, _ := strconv.Atoi(n)
					wins.Add(int64(won))
				}
			}
		})
	}
	for _, start := range starts {
		if err := start.Close(); err != nil { // the signal to begin
			t.Error(err)
		}
	}
	wg.Wait()
	if wins.Load() != rounds {
		t.Errorf("%d creates succeeded, want %d", wins.Load(), rounds)
	}
	if got, want := read(t, s, "counter"), strconv.Itoa(processes*goroutines*rounds); got != want {
		t.Errorf("the counter is %s, want %s", got, want)
	}
	left := 0
	for info, err := range s.List(t.Context(), "", objstore.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(info.Key, "go/") {
			t.Errorf("%s was deleted", info.Key)
		}
		left++
	}
	if left != rounds+1 {
		t.Errorf("%d objects are left, want %d", left, rounds+1)
	}
}

func read(t testing.TB, s objstore.Store, key string) string {
	t.Helper()
	body, _ := readInfo(t, s, key)
	return body
}

func readInfo(t testing.TB, s objstore.Store, key string) (string, objstore.Info) {
	t.Helper()
	r, info, err := s.Get(t.Context(), key, objstore.GetOptions{})
	if err != nil {
		t.Error(err)
		return "", info
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Error(err)
	}
	return string(body), info
}

// dirWorker is one process of TestDirProcesses.
var dirWorker = subprocess.Register("dirWorker", func(t testing.TB, args []string) {
	folder := args[0]
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is closed
	var wins atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		s, err := objstore.Dir(folder)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { wins.Add(worker(t, s)) })
	}
	wg.Wait()
	fmt.Printf("wins %d\n", wins.Load())
})

func worker(t testing.TB, s objstore.Store) (wins int64) {
	_, err := s.Put(t.Context(), "counter", strings.NewReader("0"), objstore.PutOptions{IfAbsent: true})
	if err != nil && !errors.Is(err, objstore.ErrPrecondition) {
		t.Error(err)
	}
	for i := range rounds {
		_, err := s.Put(t.Context(), fmt.Sprintf("create/%d/x", i), strings.NewReader("x"), objstore.PutOptions{IfAbsent: true})
		switch {
		case err == nil:
			wins++
		case !errors.Is(err, objstore.ErrPrecondition):
			t.Error(err)
		}
		for {
			body, info := readInfo(t, s, "counter")
			n, _ := strconv.Atoi(body)
			_, err := s.Put(t.Context(), "counter", strings.NewReader(strconv.Itoa(n+1)), objstore.PutOptions{IfMatch: objstore.Matching(info.ETag)})
			if err == nil {
				break
			}
			if !errors.Is(err, objstore.ErrPrecondition) {
				t.Error(err)
				return wins
			}
		}
		key := fmt.Sprintf("go/and/come/%d-%p", os.Getpid(), s)
		if _, err := s.Put(t.Context(), key, strings.NewReader("x"), objstore.PutOptions{}); err != nil {
			t.Error(err)
		}
		if got := read(t, s, key); got != "x" {
			t.Errorf("read %q", got)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	return wins
}
