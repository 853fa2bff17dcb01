package objstoretest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/objstore"
)

func testKeys(t *testing.T, s store) {
	odd := []string{
		"with space", " leading and trailing ", "two  spaces", "plus+sign", "percent%20literal", "100%", "%2F",
		"amp&equals=question?hash#", `quotes'"<>`, "semi;colon:at@comma,", "star*pipe|caret^tilde~`$!()[]{}",
		"ümläut/日本語/😀", "e\u0301 and \u00e9", "\u00a0no-break", "...", ".hidden/..x/x..", "-dash", "CaSe",
		"databases/app/nodes/n1/logs/000000000001-000000000100.e5.json",
		strings.Repeat("e", 255), strings.Repeat("deep/", 80) + "end",
	}
	var stored []string
	for _, key := range odd {
		_, err := s.put(key, "body of "+key, objstore.PutOptions{IfAbsent: true})
		if errors.Is(err, errors.ErrUnsupported) {
			t.Logf("this store cannot hold %.40q: %v", key, err)
			continue
		}
		if err != nil {
			t.Errorf("Put(%.60q): %v", key, err)
			continue
		}
		stored = append(stored, key)
	}
	if len(stored) < len(odd)/2 {
		t.Errorf("the store holds only %d of %d odd keys", len(stored), len(odd))
	}
	for _, key := range stored {
		s.wantBody(key, "body of "+key)
		s.wantKeys(key, objstore.ListOptions{}, key)
	}
	slices.Sort(stored)
	s.wantKeys("", objstore.ListOptions{}, stored...)
	for i, key := range stored {
		s.wantKeys("", objstore.ListOptions{StartAfter: key}, stored[i+1:]...)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%.60q): %v", key, err)
		}
		s.wantMissing(key)
	}
}

func testInvalidKeys(t *testing.T, s store) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/../b", "../a", `a\b`, "a\x00b", "a\nb", "\x7f",
		"a\u0085b", "\xff", "a\xc3", "\ufffe", strings.Repeat("k", 1025),
	} {
		_, err := s.put(key, "x", objstore.PutOptions{})
		wantError(t, "Put", err, objstore.ErrInvalidKey)
		_, _, err = s.get(key, objstore.GetOptions{})
		wantError(t, "Get", err, objstore.ErrInvalidKey)
		wantError(t, "Delete", s.Delete(t.Context(), key), objstore.ErrInvalidKey)
	}
	s.wantKeys("", objstore.ListOptions{})
}

func testCanceled(t *testing.T, s store) {
	s.mustPut("k", "as it was")
	ctx, cancel := context.WithCancel(t.Context())
	body, _, err := s.Get(ctx, "k", objstore.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	// What has arrived may still be read, but must not be taken for the whole.
	if got, err := io.ReadAll(body); err == nil && string(got) != "as it was" {
		t.Errorf("reading after the end of ctx: %q, %v", got, err)
	}
	if err := body.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}

	_, err = s.Put(ctx, "k", strings.NewReader("x"), objstore.PutOptions{})
	wantError(t, "Put", err, context.Canceled)
	_, _, err = s.Get(ctx, "k", objstore.GetOptions{})
	wantError(t, "Get", err, context.Canceled)
	wantError(t, "Delete", s.Delete(ctx, "k"), context.Canceled)
	calls := 0
	for _, err := range s.List(ctx, "", objstore.ListOptions{}) {
		calls++
		wantError(t, "List", err, context.Canceled)
	}
	if calls != 1 {
		t.Errorf("a canceled List yields %d times, want one error", calls)
	}
	s.wantBody("k", "as it was")

	// A Put that is canceled while its body is read stores nothing.
	ctx, cancel = context.WithCancel(t.Context())
	_, err = s.Put(ctx, "k", io.MultiReader(strings.NewReader("new"), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, nil
	})), objstore.PutOptions{})
	wantError(t, "Put canceled in its body", err, context.Canceled)
	s.wantBody("k", "as it was")
}
