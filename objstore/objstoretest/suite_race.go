package objstoretest

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/driftdb/driftdb-go/objstore"
)

// race runs fn in n goroutines that start at once.
func race(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

// wantOneWinner lets many goroutines write a key under the same condition. One must
// succeed, the others must be refused, and the winner's body must be the one stored.
func (s store) wantOneWinner(key string, opts objstore.PutOptions) {
	s.t.Helper()
	const racers = 24
	var winners, refused, transient atomic.Int64
	var body atomic.Value
	race(racers, func(i int) {
		mine := "racer " + strconv.Itoa(i)
		_, err := s.put(key, mine, opts)
		switch {
		case err == nil:
			winners.Add(1)
			body.Store(mine)
		case errors.Is(err, objstore.ErrPrecondition):
			refused.Add(1)
		default:
			// A store may ask for a retry, as S3 does with its 409.
			transient.Add(1)
			s.t.Logf("neither won nor lost: %v", err)
		}
	})
	if winners.Load() != 1 || refused.Load()+transient.Load() != racers-1 || transient.Load() > racers/2 {
		s.t.Fatalf("%s: %d winners, %d refused, %d undecided of %d", key, winners.Load(), refused.Load(), transient.Load(), racers)
	}
	s.wantBody(key, body.Load().(string))
}

func testRaceCreate(t *testing.T, s store) {
	for i := range 10 {
		s.wantOneWinner("create/"+strconv.Itoa(i), objstore.PutOptions{IfAbsent: true})
	}
}

func testRaceReplace(t *testing.T, s store) {
	for i := range 10 {
		key := "replace/" + strconv.Itoa(i)
		s.wantOneWinner(key, objstore.PutOptions{IfMatch: objstore.Matching(s.mustPut(key, "base").ETag)})
	}
	// A counter: no increment that was acknowledged may be lost.
	s.mustPut("counter", "0")
	const workers, each = 6, 8
	race(workers, func(int) {
		for done := 0; done < each; {
			body, info, err := s.get("counter", objstore.GetOptions{})
			if err != nil {
				t.Errorf("read the counter: %v", err)
				return
			}
			n, _ := strconv.Atoi(body)
			_, err = s.put("counter", strconv.Itoa(n+1), objstore.PutOptions{IfMatch: objstore.Matching(info.ETag)})
			switch {
			case err == nil:
				done++
			case t.Context().Err() != nil:
				return
			}
		}
	})
	s.wantBody("counter", strconv.Itoa(workers*each))
}

// testRaceDelete creates and deletes objects in one folder: creating and removing the
// folder must not interfere with each other.
func testRaceDelete(t *testing.T, s store) {
	race(8, func(i int) {
		key := "come/and/go/" + strconv.Itoa(i)
		for range 20 {
			if err := s.putAgain(key, "x"); err != nil {
				t.Errorf("Put: %v", err)
			}
			if got, _, err := s.get(key, objstore.GetOptions{}); err != nil || got != "x" {
				t.Errorf("Get = %q, %v", got, err)
			}
			for _, err := range s.List(t.Context(), "come/", objstore.ListOptions{}) {
				if err != nil {
					t.Errorf("List: %v", err)
				}
			}
			if err := s.Delete(t.Context(), key); err != nil {
				t.Errorf("Delete: %v", err)
			}
			if _, _, err := s.get(key, objstore.GetOptions{}); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Get of what was deleted: %v", err)
			}
		}
	})
	s.wantKeys("", objstore.ListOptions{})
}

// putAgain repeats a Put that fails with a possibly transient error, which a server may
// return while it removes the folder.
func (s store) putAgain(key, body string) error {
	for try := 1; ; try++ {
		_, err := s.put(key, body, objstore.PutOptions{})
		if err == nil || try == 10 || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) ||
			errors.Is(err, errors.ErrUnsupported) || errors.Is(err, objstore.ErrPrecondition) || errors.Is(err, objstore.ErrNoBucket) {
			return err
		}
		s.t.Logf("Put, try %d: %v", try, err)
	}
}

func testNoTornReads(t *testing.T, s store) {
	body := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 100_000+i*1000) }
	put := func(i int) {
		if _, err := s.Put(t.Context(), "torn", bytes.NewReader(body(i)), objstore.PutOptions{}); err != nil {
			t.Errorf("Put: %v", err)
		}
	}
	put(0)
	var done atomic.Bool
	race(4, func(reader int) {
		if reader == 0 {
			for i := range 40 {
				put(i)
			}
			done.Store(true)
			return
		}
		for !done.Load() {
			got, info, err := s.get("torn", objstore.GetOptions{})
			if err != nil {
				t.Errorf("Get: %v", err)
				return
			}
			if want := body((len(got) - 100_000) / 1000); int64(len(got)) != info.Size || got != string(want) {
				t.Errorf("a torn read: %d bytes of %d, from %q to %q", len(got), info.Size, got[0], got[len(got)-1])
				return
			}
		}
	})
}
