package wrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/objstore"
)

var errFlaky = errors.New("503 slow down")

// flaky is a store that fails before, or after, it does what it is asked for.
type flaky struct {
	objstore.Store
	before, after int   // calls to fail so
	cuts          int   // bodies and lists to break,
	cut           int64 // after so many bytes or keys
	calls         int
	replace       func() // called after a body broke
}

func (f *flaky) call(do func() error) error {
	f.calls++
	if f.before > 0 {
		f.before--
		return errFlaky
	}
	err := do()
	if err == nil && f.after > 0 {
		f.after--
		return errFlaky
	}
	return err
}

func (f *flaky) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (info objstore.Info, err error) {
	if f.before > 0 { // half of the body is sent by then
		if _, err := io.CopyN(io.Discard, body, 3); err != nil {
			return info, err
		}
	}
	err = f.call(func() error { info, err = f.Store.Put(ctx, key, body, opts); return err })
	return info, err
}

func (f *flaky) Get(ctx context.Context, key string, opts objstore.GetOptions) (rc io.ReadCloser, info objstore.Info, err error) {
	err = f.call(func() error { rc, info, err = f.Store.Get(ctx, key, opts); return err })
	size := info.Size - opts.Offset
	if opts.Length > 0 {
		size = min(size, opts.Length)
	}
	if err == nil && f.cuts > 0 && f.cut < size {
		f.cuts--
		rc = &cutBody{rc, io.MultiReader(io.LimitReader(rc, f.cut), iotest.ErrReader(errFlaky)), f.replace}
	}
	return rc, info, err
}

type cutBody struct {
	io.Closer
	io.Reader
	replace func()
}

func (c *cutBody) Close() error {
	if c.replace != nil {
		c.replace()
	}
	return c.Closer.Close()
}

func (f *flaky) Delete(ctx context.Context, key string) error {
	return f.call(func() error { return f.Store.Delete(ctx, key) })
}

func (f *flaky) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		f.calls++
		n := int64(0)
		for info, err := range f.Store.List(ctx, prefix, opts) {
			if n++; f.cuts > 0 && n > f.cut {
				f.cuts--
				yield(objstore.Info{}, errFlaky)
				return
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func put(t *testing.T, s objstore.Store, key, value string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(value), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func read(ctx context.Context, s objstore.Store, key string, opts objstore.GetOptions) (string, error) {
	rc, _, err := s.Get(ctx, key, opts)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(rc)
	return string(data), errors.Join(err, rc.Close())
}

func TestPutReplaysTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem(), before: 3}
		body := strings.NewReader("skipped, then the value")
		body.Seek(int64(len("skipped, then ")), io.SeekStart)
		if _, err := Retry(f, retry.Default()).Put(t.Context(), "k", body, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if got, err := read(t.Context(), f.Store, "k", objstore.GetOptions{}); got != "the value" {
			t.Errorf("stored %q, %v", got, err)
		}
	})
}

func TestPutOfAStreamIsTriedOnce(t *testing.T) {
	f := &flaky{Store: objstore.Mem(), before: 1}
	_, err := Retry(f, retry.Default()).Put(t.Context(), "k", io.MultiReader(strings.NewReader("value")), objstore.PutOptions{})
	if !errors.Is(err, errFlaky) || f.calls != 1 {
		t.Errorf("%d calls, %v", f.calls, err)
	}
	if _, err := read(t.Context(), f.Store, "k", objstore.GetOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a body that was used up was stored: %v", err)
	}
}

func TestPutDoesNotRetryABrokenBody(t *testing.T) {
	f := &flaky{Store: objstore.Mem()}
	errDisk := errors.New("disk failed")
	body := struct {
		io.Reader
		io.Seeker
	}{iotest.ErrReader(errDisk), strings.NewReader("")}
	_, err := Retry(f, retry.Default()).Put(t.Context(), "k", body, objstore.PutOptions{})
	if !errors.Is(err, errDisk) || f.calls != 1 {
		t.Errorf("%d calls, %v", f.calls, err)
	}
}

// The documented trap: the answer of a conditional Put that worked is lost.
func TestLostAnswerOfAConditionalPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem(), after: 1}
		_, err := Retry(f, retry.Default()).Put(t.Context(), "k", strings.NewReader("mine"), objstore.PutOptions{IfAbsent: true})
		if !errors.Is(err, objstore.ErrPrecondition) {
			t.Errorf("%v, want ErrPrecondition, which the caller has to look into", err)
		}
		if got, _ := read(t.Context(), f.Store, "k", objstore.GetOptions{}); got != "mine" {
			t.Errorf("stored %q", got)
		}
	})
}

func TestGetAndDeleteAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem()}
		put(t, f.Store, "k", "value")
		s := Retry(f, retry.Default())
		f.before = 2
		if got, err := read(t.Context(), s, "k", objstore.GetOptions{}); got != "value" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		f.before = 2
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		f.calls = 0
		if _, err := read(t.Context(), s, "k", objstore.GetOptions{}); !errors.Is(err, fs.ErrNotExist) || f.calls != 1 {
			t.Errorf("%d calls, %v; want one, ErrNotExist", f.calls, err)
		}
	})
}

func TestBodyContinuesWhereItBroke(t *testing.T) {
	value := strings.Repeat("0123456789", 10)
	for _, opts := range []objstore.GetOptions{{}, {Offset: 7}, {Length: 50}, {Offset: 13, Length: 41}, {Offset: 90, Length: 500}, {Offset: 200}} {
		for cut := int64(1); cut < 110; cut += 9 {
			synctest.Test(t, func(t *testing.T) {
				f := &flaky{Store: objstore.Mem(), cut: cut, cuts: 5}
				put(t, f.Store, "k", value)
				want := value[min(opts.Offset, 100):]
				if opts.Length > 0 {
					want = want[:min(opts.Length, int64(len(want)))]
				}
				if got, err := read(t.Context(), Retry(f, retry.Default()), "k", opts); got != want || err != nil {
					t.Errorf("%+v cut each %d: %q, %v; want %q", opts, cut, got, err, want)
				}
			})
		}
	}
}

func TestBodyGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem(), cut: 1, cuts: 1000}
		put(t, f.Store, "k", strings.Repeat("x", 100))
		got, err := read(t.Context(), Retry(f, retry.Default()), "k", objstore.GetOptions{})
		if !errors.Is(err, errFlaky) || len(got) != 6 {
			t.Errorf("%d bytes, %v; want 6 attempts of a byte each", len(got), err)
		}
	})
}

// A large object may break more often than the policy allows in a row.
func TestBodyThatMakesProgressGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem(), cut: enough, cuts: 1000}
		value := strings.Repeat("0123456789abcde\n", 20*enough/16) + "end"
		put(t, f.Store, "k", value)
		got, err := read(t.Context(), Retry(f, retry.Default()), "k", objstore.GetOptions{})
		if err != nil || got != value {
			t.Errorf("%d of %d bytes, %v", len(got), len(value), err)
		}
	})
}

func TestBodyNeverMixesTwoObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem(), cut: 3, cuts: 1}
		put(t, f.Store, "k", "old value")
		f.replace = func() { put(t, f.Store, "k", "new value") }
		got, err := read(t.Context(), Retry(f, retry.Default()), "k", objstore.GetOptions{})
		if !errors.Is(err, retry.ErrChanged) || got != "old" {
			t.Errorf("%q, %v; want retry.ErrChanged", got, err)
		}
	})
}

func TestBodyOfADeletedObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem(), cut: 3, cuts: 1}
		put(t, f.Store, "k", "value")
		f.replace = func() { f.Store.Delete(t.Context(), "k") }
		if _, err := read(t.Context(), Retry(f, retry.Default()), "k", objstore.GetOptions{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want ErrNotExist", err)
		}
	})
}

// A body that ends early without an error is broken too.
func TestShortBody(t *testing.T) {
	mem := objstore.Mem()
	put(t, mem, "k", "value")
	s := Retry(shortening{mem}, retry.Policy{MaxRetries: 9})
	if got, err := read(t.Context(), s, "k", objstore.GetOptions{}); got != "value" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

type shortening struct{ objstore.Store }

func (s shortening) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	rc, info, err := s.Store.Get(ctx, key, opts)
	return &cutBody{Closer: rc, Reader: io.LimitReader(rc, 2)}, info, err
}

func TestBodyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem(), cut: 1, cuts: 1000}
		put(t, f.Store, "k", "value")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := read(ctx, Retry(f, retry.Default()), "k", objstore.GetOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want DeadlineExceeded", err)
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// An error when all bytes are here, such as a wrong checksum, is about all of
// them: no range can mend it.
func TestErrorAtTheEndIsFinal(t *testing.T) {
	mem := objstore.Mem()
	put(t, mem, "k", "value")
	f := &flaky{Store: mistrusting{mem}}
	_, err := read(t.Context(), Retry(f, retry.Default()), "k", objstore.GetOptions{})
	if !errors.Is(err, errChecksum) || f.calls != 1 {
		t.Errorf("%d calls, %v; want one, %v", f.calls, err, errChecksum)
	}
}

var errChecksum = errors.New("checksum mismatch")

type mistrusting struct{ objstore.Store }

func (m mistrusting) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	rc, info, err := m.Store.Get(ctx, key, opts)
	return &cutBody{Closer: rc, Reader: io.MultiReader(rc, iotest.ErrReader(errChecksum))}, info, err
}

func TestReadAfterClose(t *testing.T) {
	mem := objstore.Mem()
	put(t, mem, "k", "value")
	rc, _, err := Retry(mem, retry.Default()).Get(t.Context(), "k", objstore.GetOptions{})
	if err := errors.Join(err, rc.Close(), rc.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := rc.Read(make([]byte, 5)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestListContinuesAfterTheLastKey(t *testing.T) {
	mem := objstore.Mem()
	for i := range 20 {
		put(t, mem, fmt.Sprintf("p/%02d", i), "")
		put(t, mem, fmt.Sprintf("p/%02d/x", i), "")
	}
	for _, opts := range []objstore.ListOptions{{}, {StartAfter: "p/03"}, {Folders: true}, {Folders: true, StartAfter: "p/03/"}} {
		synctest.Test(t, func(t *testing.T) {
			want := keys(t, mem, opts)
			s := Retry(&flaky{Store: mem, cut: 1, cuts: 1000}, retry.Default())
			if got := keys(t, s, opts); !slices.Equal(got, want) {
				t.Errorf("%+v:\n got %v\nwant %v", opts, got, want)
			}
		})
	}
}

func keys(t *testing.T, s objstore.Store, opts objstore.ListOptions) (all []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), "p/", opts) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return all
}

func TestListGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: objstore.Mem(), cut: 0, cuts: 1000}
		put(t, f.Store, "p/a", "")
		var errs []error
		for _, err := range Retry(f, retry.Default()).List(t.Context(), "p/", objstore.ListOptions{}) {
			errs = append(errs, err)
		}
		if len(errs) != 1 || !errors.Is(errs[0], errFlaky) || f.calls != 6 {
			t.Errorf("%d calls, %v; want one error after 6 calls", f.calls, errs)
		}
	})
}

func TestListStopsWhenTheCallerDoes(t *testing.T) {
	f := &flaky{Store: objstore.Mem()}
	put(t, f.Store, "p/a", "")
	put(t, f.Store, "p/b", "")
	for info, err := range Retry(f, retry.Default()).List(t.Context(), "p/", objstore.ListOptions{}) {
		if info.Key != "p/a" || err != nil {
			t.Fatal(info, err)
		}
		break
	}
	if f.calls != 1 {
		t.Errorf("%d lists", f.calls)
	}
}
