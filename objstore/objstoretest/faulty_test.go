package objstoretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// The decorators keep the store's promises while they let everything through.
func TestDecorators(t *testing.T) {
	Run(t, func(*testing.T) objstore.Store { return Count(Break(objstore.Mem(), nil)) })
}

func TestFaults(t *testing.T) {
	const body = "0123456789"
	for _, c := range []struct {
		op        Op
		fault     Fault
		wantErr   error
		wantThere string // what the key holds afterwards
		wantGot   string // what Get handed out
	}{
		{Put, Fault{}, nil, body, ""},
		{Put, Fault{Kind: Fail}, ErrInjected, "", ""},
		{Put, Fault{Kind: Fail, Err: fs.ErrPermission}, fs.ErrPermission, "", ""},
		{Put, Fault{Kind: Lose}, ErrInjected, body, ""},
		{Put, Fault{Kind: Cut, At: 4}, io.ErrUnexpectedEOF, "", ""},
		{Put, Fault{Kind: Cut, At: 10}, nil, body, ""},
		{Put, Fault{Kind: Flip, At: 9}, nil, "0123456788", ""},
		{Put, Fault{Kind: Flip, At: 10}, nil, body, ""},
		{Get, Fault{Kind: Fail}, ErrInjected, body, ""},
		{Get, Fault{Kind: Lose, Err: Status(500)}, ErrInjected, body, ""},
		{Get, Fault{Kind: Cut, At: 0}, io.ErrUnexpectedEOF, body, ""},
		{Get, Fault{Kind: Cut, At: 7}, io.ErrUnexpectedEOF, body, "0123456"},
		{Get, Fault{Kind: Cut, At: 10}, nil, body, body},
		{Get, Fault{Kind: Flip, At: 0}, nil, body, "1123456789"},
		{Delete, Fault{Kind: Fail}, ErrInjected, body, ""},
		{Delete, Fault{Kind: Cut}, ErrInjected, body, ""},
		{Delete, Fault{Kind: Lose}, ErrInjected, "", ""},
		{List, Fault{Kind: Fail}, ErrInjected, body, ""},
		{List, Fault{Kind: Lose}, ErrInjected, body, ""},
		{List, Fault{Kind: Cut, At: 0}, io.ErrUnexpectedEOF, body, ""},
		{List, Fault{Kind: Cut, At: 1}, nil, body, ""},
	} {
		t.Run(fmt.Sprintf("%s/%d/%d", c.op, c.fault.Kind, c.fault.At), func(t *testing.T) {
			inner := store{t, objstore.Mem()}
			if c.op != Put {
				inner.mustPut("k", body)
			}
			s := store{t, Break(inner, Only(c.op, On(1, c.fault)))}
			var got string
			var err error
			switch c.op {
			case Put:
				_, err = s.put("k", body, objstore.PutOptions{})
			case Get:
				got, _, err = s.get("k", objstore.GetOptions{})
			case List:
				for _, e := range s.List(t.Context(), "", objstore.ListOptions{}) {
					err = errors.Join(err, e)
				}
			case Delete:
				err = s.Delete(t.Context(), "k")
			}
			if !errors.Is(err, c.wantErr) || (err == nil) != (c.wantErr == nil) {
				t.Errorf("error %v, want %v", err, c.wantErr)
			}
			if c.fault.Kind != Fail && c.fault.Kind != Lose && got != c.wantGot {
				t.Errorf("got %q, want %q", got, c.wantGot)
			}
			if c.wantThere == "" {
				inner.wantMissing("k")
			} else {
				inner.wantBody("k", c.wantThere)
			}
		})
	}
}

func TestFaultDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Break(objstore.Mem(), From(1, Fault{Delay: time.Minute}))
		began := time.Now()
		if _, err := s.Put(t.Context(), "k", strings.NewReader("x"), objstore.PutOptions{}); err != nil || time.Since(began) != time.Minute {
			t.Errorf("Put: %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		err := s.Delete(ctx, "k")
		if wantError(t, "Delete", err, context.DeadlineExceeded); time.Since(began) != time.Second {
			t.Errorf("Delete: %v after %v", err, time.Since(began))
		}
	})
}

func TestStatus(t *testing.T) {
	for code, want := range map[int]error{
		403: fs.ErrPermission, 401: fs.ErrPermission, 404: fs.ErrNotExist, 412: objstore.ErrPrecondition, 501: errors.ErrUnsupported,
	} {
		wantError(t, http.StatusText(code), Status(code), want)
		wantError(t, http.StatusText(code), Status(code), ErrInjected)
	}
}

func TestSeeded(t *testing.T) {
	const calls = 2000
	bad := 0
	for i := range calls {
		c := Call{N: i, Op: Put, Key: fmt.Sprint("k", i/10), Try: i % 10}
		fault := Seeded(7, 0.25)(c)
		c.N = calls - i // the order of calls must not matter
		if again := Seeded(7, 0.25)(c); again.Kind != fault.Kind || again.At != fault.At || fmt.Sprint(again.Err) != fmt.Sprint(fault.Err) {
			t.Fatalf("%+v: %+v, then %+v", c, fault, again)
		}
		if fault.Kind != None {
			bad++
		}
	}
	if bad < calls/5 || bad > calls*3/10 {
		t.Errorf("%d of %d calls go wrong at a rate of 0.25", bad, calls)
	}
}

func TestCounting(t *testing.T) {
	c := Count(objstore.Mem())
	s := store{t, c}
	s.mustPut("a", "12345")
	s.wantBody("a", "12345")
	s.wantMissing("b")
	s.wantKeys("", objstore.ListOptions{}, "a")
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for op, want := range map[Op]Tally{Put: {1, 0, 5}, Get: {2, 1, 5}, List: {1, 0, 0}, Delete: {1, 0, 0}} {
		if got := c.Tally(op); got != want {
			t.Errorf("%s: %+v, want %+v", op, got, want)
		}
	}
	if c.Calls() != 5 {
		t.Errorf("%d calls, want 5", c.Calls())
	}
	if c.Reset(); c.Calls() != 0 {
		t.Errorf("%d calls after Reset", c.Calls())
	}
}
