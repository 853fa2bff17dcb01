package remote

import (
	"bytes"

	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

const testID = "00000000-0000-7000-8000-000000000001"

// world is a bucket that is filled by hand. A history is a string: each letter
// is a transaction of one insert.
type world struct {
	t     *testing.T
	store objstore.Store
	b     *Bucket
}

func newWorld(t *testing.T) *world {
	store := objstore.Mem()
	return &world{t, store, New(store, "app", seal.Options{})}
}

func write(w *batch.Writer, sequence int64, value string) error {
	if err := w.Begin(sequence, 1_700_000_000_000+sequence); err != nil {
		return err
	}
	e := change.Entry{Op: change.Insert, Table: "t", After: []change.Column{{Name: "v", Value: change.Value{Kind: change.Text, Bytes: []byte(value)}}}}
	if err := w.Add(&e); err != nil {
		return err
	}
	return w.End()
}

// chain is the chain after the history h.
func (w *world) chain(h string) batch.Chain {
	w.t.Helper()
	c := batch.Genesis(testID)
	if h == "" {
		return c
	}
	return w.encode(io.Discard, "n", 1, h, 1).Head
}

// encode writes the part of h from sequence from on.
func (w *world) encode(dst io.Writer, node string, epoch int64, h string, from int64) batch.Trailer {
	w.t.Helper()
	prev := batch.Genesis(testID)
	if from > 1 {
		prev = w.chain(h[:from-1])
	}
	s := batch.NewWriter(dst, batch.Header{NodeID: node, Epoch: epoch, From: from, Prev: prev})
	for i := from; i <= int64(len(h)); i++ {
		if err := write(s, i, h[i-1:i]); err != nil {
			w.t.Fatal(err)
		}
	}
	tr, err := s.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	return tr
}

// put stores the part of h from sequence from on as a batch, and returns its key.
func (w *world) put(node string, epoch int64, h string, from int64) string {
	w.t.Helper()
	name := Batch{NodeID: node, From: from, To: int64(len(h)), Epoch: epoch}
	key := BatchKey("app", name)
	var sealed bytes.Buffer
	s, err := w.b.SealBatch(&sealed, testID, key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.encode(s, node, epoch, h, from)
	if err := s.Close(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.b.PutBatch(w.t.Context(), testID, name, sealed.Bytes()); err != nil {
		w.t.Fatal(err)
	}
	return key
}

// manifest confirms the history h.
func (w *world) manifest(h string, lineage ...Span) *Manifest {
	last := lineage[len(lineage)-1]
	return &Manifest{
		Name: "app", DatabaseID: testID, NodeID: last.NodeID, Epoch: last.Epoch,
		LatestSequence: int64(len(h)), ChainHead: w.chain(h), Lineage: lineage,
	}
}

// letters is a sink that collects a history.
type letters struct{ done, batch []byte }

func (l *letters) Begin() error    { l.batch = l.batch[:0]; return nil }
func (l *letters) Rollback() error { l.batch = l.batch[:0]; return nil }
func (l *letters) Commit(Position, digest.Report) error {
	l.done = append(l.done, l.batch...)
	return nil
}
func (l *letters) Apply(r *batch.Record) error {
	l.batch = append(l.batch, r.Entry.After[0].Value.Bytes...)
	return nil
}

func (w *world) read(m *Manifest, target Target) (string, error) {
	w.t.Helper()
	var l letters
	end, err := w.b.Walk(w.t.Context(), m, Position{Chain: batch.Genesis(testID)}, target, &l)
	if err == nil && (end.Sequence != int64(len(l.done)) || end.Chain != w.chain(string(l.done))) {
		w.t.Errorf("the walk ends at %d, chain %s, but gave %q", end.Sequence, end.Chain, l.done)
	}
	return string(l.done), err
}

func TestWalk(t *testing.T) {
	for name, c := range map[string]struct {
		fill func(w *world) *Manifest
		want string
		err  error
	}{
		"batch by batch": {func(w *world) *Manifest {
			w.put("n", 1, "abc", 1)
			w.put("n", 1, "abcd", 4)
			return w.manifest("abcd", Span{"n", 1, 1, 0})
		}, "abcd", nil},
		"beside another history in a span that has ended": {func(w *world) *Manifest {
			w.put("n", 1, "abcd", 1)
			w.put("n", 1, "abXdX", 1)
			w.put("m", 2, "abcdef", 5)
			return w.manifest("abcdef", Span{"n", 1, 1, 4}, Span{"m", 2, 5, 0})
		}, "abcdef", nil},
		"past the manifest": {func(w *world) *Manifest {
			w.put("n", 1, "abc", 1)
			w.put("n", 1, "abcde", 4)
			return w.manifest("abc", Span{"n", 1, 1, 0})
		}, "abcde", nil},
		"another epoch is no continuation": {func(w *world) *Manifest {
			w.put("n", 1, "abc", 1)
			w.put("n", 2, "abcX", 4)
			return w.manifest("abc", Span{"n", 1, 1, 0})
		}, "abc", nil},
		"a cut span": {func(w *world) *Manifest {
			w.put("n", 1, "abcXY", 1)
			w.put("m", 2, "abcde", 4)
			return w.manifest("abcde", Span{"n", 1, 1, 3}, Span{"m", 2, 4, 0})
		}, "abcde", nil},
		"merged, with the parts still there": {func(w *world) *Manifest {
			w.put("n", 1, "ab", 1)
			w.put("n", 1, "abc", 3)
			w.put("n", 1, "abcd", 4)
			w.put("n", 1, "abcd", 1)
			return w.manifest("abc", Span{"n", 1, 1, 0})
		}, "abcd", nil},
		"merged, but damaged": {func(w *world) *Manifest {
			w.put("n", 1, "ab", 1)
			w.put("n", 1, "abcd", 3)
			w.damage(w.put("n", 1, "abcd", 1))
			return w.manifest("abcd", Span{"n", 1, 1, 0})
		}, "abcd", nil},
		"overlapping": {func(w *world) *Manifest {
			w.put("n", 1, "abc", 1)
			w.put("n", 1, "abcde", 3)
			return w.manifest("abcde", Span{"n", 1, 1, 0})
		}, "abcde", nil},
		"a clone of the running writer lost": {func(w *world) *Manifest {
			w.put("n", 1, "ab", 1)
			w.put("n", 1, "abcd", 3)
			w.put("n", 1, "abXYZ", 3) // wider, and wrong
			w.put("n", 1, "abcdef", 5)
			return w.manifest("abcdef", Span{"n", 1, 1, 0})
		}, "abcdef", nil},
		"a clone won by the wider batch": {func(w *world) *Manifest {
			w.put("n", 1, "ab", 1)
			w.put("n", 1, "abcd", 3)
			w.put("n", 1, "abXYZ", 3)
			return w.manifest("abXYZ", Span{"n", 1, 1, 0})
		}, "abXYZ", nil},
		"a hole": {func(w *world) *Manifest {
			w.put("n", 1, "ab", 1)
			w.put("n", 1, "abcde", 4)
			return w.manifest("abcde", Span{"n", 1, 1, 0})
		}, "ab", ErrCorrupt},
		"another history": {func(w *world) *Manifest {
			w.put("n", 1, "abX", 1)
			return w.manifest("abc", Span{"n", 1, 1, 0})
		}, "", ErrCorrupt},
		"a confirmed batch is damaged": {func(w *world) *Manifest {
			w.damage(w.put("n", 1, "abc", 1))
			return w.manifest("abc", Span{"n", 1, 1, 0})
		}, "", ErrCorrupt},
		"nothing where there should be": {func(w *world) *Manifest {
			return w.manifest("abc", Span{"n", 1, 1, 0})
		}, "", ErrCorrupt},
		"the head is within a batch": {func(w *world) *Manifest {
			w.put("n", 1, "abcdef", 1)
			return w.manifest("abc", Span{"n", 1, 1, 0})
		}, "abcdef", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := c.fill(w)
			if err := m.check("app"); err != nil {
				t.Fatalf("the test's manifest: %v", err)
			}
			got, err := w.read(m, Target{})
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, c.want, c.err)
			}
			for n := 1; n <= len(c.want); n++ {
				got, err := w.read(m, Target{Sequence: int64(n)})
				if err != nil && c.err == nil || err == nil && got != c.want[:n] {
					t.Errorf("to %d: got %q, %v", n, got, err)
				}
				found, _, err := w.b.Locate(t.Context(), m, 1_700_000_000_000+int64(n))
				if err != nil && c.err == nil || err == nil && found != int64(n) {
					t.Errorf("at the time of %d: %d, %v", n, found, err)
				}
			}
			if c.err == nil {
				w.readParts(m, c.want, 1)
			}
		})
	}
}

// damage flips a bit in the middle of an object.
func (w *world) damage(key string) {
	w.t.Helper()
	data := w.object(key)
	data[len(data)/2] ^= 1
	w.replace(key, data)
}

func (w *world) object(key string) []byte {
	w.t.Helper()
	body, _, err := w.store.Get(w.t.Context(), key, objstore.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *world) replace(key string, data []byte) {
	w.t.Helper()
	if _, err := w.store.Put(w.t.Context(), key, bytes.NewReader(data), objstore.PutOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// TestDamage flips every byte, cuts at every length, and swaps objects: the
// answer is the right history or an error, never another history.
func TestDamage(t *testing.T) {
	for _, keys := range [][]string{nil, {strings.Repeat("07", 32)}} {
		ring, err := seal.ParseKeys(keys)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t)
		w.b = New(w.store, "app", seal.Options{Ring: ring})
		first, second := w.put("n", 1, "abc", 1), w.put("n", 1, "abcde", 4)
		stored, err := w.b.Swap(t.Context(), Stored{}, w.manifest("abc", Span{"n", 1, 1, 0}))
		if err != nil {
			t.Fatal(err)
		}
		older := w.object(manifestKey("app"))
		m := stored.Clone()
		m.LatestSequence, m.ChainHead = 5, w.chain("abcde")
		if _, err := w.b.Swap(t.Context(), stored, m); err != nil {
			t.Fatal(err)
		}
		right := func(what string) {
			t.Helper()
			m, err := w.b.Manifest(t.Context())
			if err != nil {
				return
			}
			if got, err := w.read(m.Manifest, Target{}); err == nil && got != "abcde" {
				t.Errorf("%s: got %q in silence", what, got)
			}
		}
		for _, key := range []string{first, second, manifestKey("app")} {
			good := w.object(key)
			for i := range good {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				w.replace(key, bad)
				right(fmt.Sprintf("%s, byte %d flipped", key, i))
				w.replace(key, good[:i])
				right(fmt.Sprintf("%s, cut at %d", key, i))
			}
			w.replace(key, good)
		}
		a, b := w.object(first), w.object(second)
		w.replace(first, b)
		right("a batch under another's name")
		w.replace(first, a)
		w.replace(manifestKey("app"), older)
		right("an older manifest")
	}
}

// TestSwap: whoever reads an old manifest cannot replace the new one, and a
// lost answer is no loss.
func TestSwap(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	if _, err := w.b.Manifest(ctx); !errors.Is(err, ErrNoBackup) {
		t.Fatalf("an empty bucket: %v", err)
	}
	m := w.manifest("", Span{"n", 1, 1, 0})
	first, err := w.b.Swap(ctx, Stored{}, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.b.Swap(ctx, Stored{}, m); !errors.Is(err, ErrLost) {
		t.Errorf("creating it twice: %v", err)
	}
	second, err := w.b.Swap(ctx, first, m)
	if err != nil {
		t.Fatal(err)
	}
	if second.Nonce == first.Nonce {
		t.Error("two manifests are alike")
	}
	if _, err := w.b.Swap(ctx, first, m); !errors.Is(err, ErrLost) {
		t.Errorf("swapping an old one: %v", err)
	}
}

// TestPutBatch: a name of one's own that is taken holds the same, or somebody
// else is at work.
func TestPutBatch(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.put("n", 1, "abc", 1)
	w.put("n", 1, "abc", 1) // put fails the test on an error
	name := Batch{NodeID: "n", From: 1, To: 3, Epoch: 1}
	var sealed bytes.Buffer
	s, err := w.b.SealBatch(&sealed, testID, BatchKey("app", name))
	if err != nil {
		t.Fatal(err)
	}
	w.encode(s, "n", 1, "abX", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.b.PutBatch(ctx, testID, name, sealed.Bytes()); !errors.Is(err, ErrLost) {
		t.Errorf("other contents: %v", err)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"app": true, "A.b_c-9": true, "...": true, strings.Repeat("x", 128): true,
		"": false, ".": false, "..": false, "a/b": false, `a\b`: false, "a b": false, "ä": false, "a\x00": false, strings.Repeat("x", 129): false,
	} {
		if err := CheckName("database", name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	b := Batch{NodeID: "n", From: 1, To: 100, Epoch: 5}
	if got := BatchKey("app", b); got != "databases/app/nodes/n/logs/000000000001-000000000100.e5.json" {
		t.Error(got)
	}
	if got, ok := parseBatch("n", b.file()); !ok || got != b {
		t.Errorf("%+v %v", got, ok)
	}
	for _, file := range []string{"", "x", "1-2.e1.json", "000000000002-000000000001.e1.json", "000000000001-000000000002.json", "000000000001-000000000002.e0.json", "000000000001-000000000002.e01.json", "000000000000-000000000002.e1.json", "+00000000001-000000000002.e1.json"} {
		if got, ok := parseBatch("n", file); ok {
			t.Errorf("%q is taken for %+v", file, got)
		}
	}
}

// FuzzManifest: whatever lies in the manifest's place is read or refused.
func FuzzManifest(f *testing.F) {
	t := new(testing.T)
	m := newWorld(t).manifest("abc", Span{"n", 1, 1, 2}, Span{"m", 2, 3, 0})
	m.AddSnapshot(Snapshot{Key: SnapshotKey("app", "n", 5), Sequence: 2, Time: 5, Size: 7, SHA256: strings.Repeat("0", 64), Digests: digest.Set{"t": {1}, "u": {}}})
	plain := New(nil, "app", seal.Options{})
	keyed := New(nil, "app", seal.Options{Ring: ringOf(f, strings.Repeat("07", 32))})
	for _, b := range []*Bucket{plain, keyed} {
		good, err := b.encode(m, manifestKey("app"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(good)
	}
	f.Add(withMAC(f, m, keyed.opts.Ring))
	f.Add([]byte(`{"formatVersion":3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range []*Bucket{plain, keyed} {
			m, err := b.decode(manifestKey("app"), bytes.NewReader(data))
			if err != nil {
				continue
			}
			again, err := b.encode(m, manifestKey("app"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.decode(manifestKey("app"), bytes.NewReader(again)); err != nil {
				t.Errorf("what was read is refused when it is written again: %v", err)
			}
		}
	})
}

// FuzzBatchName: a name is read only if it is exactly what would be written.
func FuzzBatchName(f *testing.F) {
	f.Add("000000000001-000000000100.e5.json")
	f.Fuzz(func(t *testing.T, file string) {
		if b, ok := parseBatch("n", file); ok && b.file() != file {
			t.Errorf("%q was read as %q", file, b.file())
		}
	})
}

// reached is a sink that notes the records it was given, and the digests.
type reached struct {
	records []string
	digests []digest.Report
}

func (*reached) Begin() error    { return nil }
func (*reached) Rollback() error { return nil }
func (s *reached) Apply(r *batch.Record) error {
	s.records = append(s.records, fmt.Sprintf("%d-%d", r.Sequence, r.End()))
	return nil
}
func (s *reached) Commit(_ Position, d digest.Report) error {
	s.digests = append(s.digests, d)
	return nil
}

// TestWalkRange walks over a barrier that stands for sequences 2 to 11, in the
// middle of a batch of 1 to 12. A target within the range takes the barrier.
func TestWalkRange(t *testing.T) {
	w := newWorld(t)
	o := Batch{NodeID: "n", From: 1, To: 12, Epoch: 1}
	var sealed bytes.Buffer
	s, err := w.b.SealBatch(&sealed, testID, BatchKey("app", o))
	if err != nil {
		t.Fatal(err)
	}
	plain := batch.NewWriter(s, batch.Header{NodeID: "n", Epoch: 1, From: 1, Prev: batch.Genesis(testID)})
	barrier := change.Entry{Op: change.Barrier, Reason: "outgrown", Count: 10}
	err = errors.Join(write(plain, 1, "a"), plain.Begin(2, 1_700_000_000_005), plain.Add(&barrier), plain.End(), write(plain, 12, "b"))
	plain.SetDigests(digest.Report{"t": {1}})
	tr, cerr := plain.Close()
	if err = errors.Join(err, cerr, s.Close(), w.b.PutBatch(t.Context(), testID, o, sealed.Bytes())); err != nil {
		t.Fatal(err)
	}
	m := w.manifest("", Span{"n", 1, 1, 0})
	m.LatestSequence, m.ChainHead = tr.To, tr.Head

	after := map[int64]Position{0: {0, batch.Genesis(testID)}}
	for target, c := range map[int64]struct {
		end     int64
		records string
		digests bool
	}{1: {1, "1-1", false}, 2: {11, "1-1 2-11", false}, 10: {11, "1-1 2-11", false}, 11: {11, "1-1 2-11", false}, 12: {12, "1-1 2-11 12-12", true}, 0: {12, "1-1 2-11 12-12", true}} {
		var got reached
		end, err := w.b.Walk(t.Context(), m, after[0], Target{Sequence: target}, &got)
		if err != nil || end.Sequence != c.end || strings.Join(got.records, " ") != c.records {
			t.Errorf("to %d: ends at %d with %q, %v", target, end.Sequence, got.records, err)
		}
		if len(got.digests) != 1 || (got.digests[0] != nil) != c.digests {
			t.Errorf("to %d: digests %v", target, got.digests)
		}
		after[end.Sequence] = end.Position
	}
	for _, from := range []int64{1, 11} {
		if end, err := w.b.Walk(t.Context(), m, after[from], Target{}, nil); err != nil || end.Position != after[12] {
			t.Errorf("from %d: ends at %+v, %v", from, end, err)
		}
	}
	if _, err := w.b.Walk(t.Context(), m, Position{5, after[1].Chain}, Target{}, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("from within the range: %v", err)
	}
}
