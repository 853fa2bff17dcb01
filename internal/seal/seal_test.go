package seal

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

var (
	keyA = strings.Repeat("a1", 32)
	keyB = strings.Repeat("B2", 32)
	here = Context{DatabaseID: "db-1", Name: "databases/app/nodes/n/logs/1-2.e1.json"}

	contents = []byte(`{"version":1,"entries":[` + strings.Repeat("\n"+`{"sequence":1,"table":"users"}`, 20) + "]}\n")
)

func ring(t testing.TB, keys ...string) *Ring {
	t.Helper()
	r, err := ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// forms are the ways an object can be sealed.
func forms(t testing.TB) map[string]Options {
	return map[string]Options{
		"gzip":           {},
		"plain":          {Compression: None},
		"gzip-encrypted": {Ring: ring(t, keyA)},
		"encrypted":      {Compression: None, Ring: ring(t, keyA)},
	}
}

func sealed(t testing.TB, plain []byte, opts Options, c Context) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, opts, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func opened(object []byte, r *Ring, c Context) ([]byte, error) {
	src, err := NewReader(bytes.NewReader(object), r, c)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(src)
}

func TestRoundTrip(t *testing.T) {
	noise := make([]byte, 3*segmentSize)
	rand.Read(noise)
	for name, opts := range forms(t) {
		t.Run(name, func(t *testing.T) {
			// Sizes around everything that has a border inside: sniffing,
			// buffers, and both segments of the cipher.
			first := segmentSize - headerSize - 40 - 16
			for _, size := range []int{2, 15, 16, 17, 64 << 10, first - 1, first, first + 1, first + segmentSize - 16, 3 * segmentSize} {
				plain := append([]byte(`{"`), noise[:size-2]...)
				got, err := opened(sealed(t, plain, opts, here), opts.Ring, here)
				if err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("size %d: %d bytes, %v", size, len(got), err)
				}
			}
		})
	}
}

func TestSmallWritesAndReads(t *testing.T) {
	for name, opts := range forms(t) {
		var out bytes.Buffer
		w, err := NewWriter(&out, opts, here)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, iotest.OneByteReader(bytes.NewReader(contents))); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Close(), w.Close()); err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(iotest.OneByteReader(&out), opts.Ring, here)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := iotest.TestReader(r, contents); err != nil {
			t.Error(name, err)
		}
	}
}

func TestGunzipReadsIt(t *testing.T) {
	object := sealed(t, contents, Options{}, here)
	r, err := gzip.NewReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, contents) {
		t.Fatalf("gunzip: %d bytes, %v", len(got), err)
	}
	if r.Name != "" || !r.ModTime.IsZero() || r.OS != 255 {
		t.Errorf("the gzip header is %+v; it must not depend on where it was made", r.Header)
	}
	if again := sealed(t, contents, Options{}, here); !bytes.Equal(object, again) {
		t.Error("sealing is not deterministic")
	}
}

// Every change of an object that has a checksum is an error, or harmless.
func TestDamage(t *testing.T) {
	for name, opts := range forms(t) {
		if name == "plain" {
			continue // has none of its own; what is inside verifies itself
		}
		t.Run(name, func(t *testing.T) {
			object := sealed(t, contents, opts, here)
			check := func(what string, damaged []byte) {
				got, err := opened(damaged, opts.Ring, here)
				if err == nil && !bytes.Equal(got, contents) {
					t.Fatalf("%s: opens as something else: %.80q", what, got)
				}
				if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrPlaintext) && !errors.Is(err, ErrKey) && !errors.Is(err, ErrVersion) {
					t.Fatalf("%s: %v is none of our errors", what, err)
				}
				// Without keys, encrypted objects must not pass for plain ones.
				if got, err := opened(damaged, nil, here); err == nil && !bytes.Equal(got, contents) {
					t.Fatalf("%s: opens without keys as %.80q", what, got)
				}
			}
			for i := range object {
				for _, mask := range []byte{0x01, 0x80, 0xff, object[i] ^ '{', object[i] ^ '"'} {
					damaged := bytes.Clone(object)
					damaged[i] ^= mask
					check(fmt.Sprintf("byte %d flipped with %#x", i, mask), damaged)
				}
				if _, err := opened(object[:i], opts.Ring, here); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("cut to %d of %d bytes: %v, want ErrCorrupt", i, len(object), err)
				}
			}
			for _, tail := range [][]byte{{0}, []byte("x"), object} {
				if _, err := opened(append(bytes.Clone(object), tail...), opts.Ring, here); !errors.Is(err, ErrCorrupt) {
					t.Errorf("followed by %d bytes: %v, want ErrCorrupt", len(tail), err)
				}
			}
		})
	}
}

func TestSegmentsCannotBeMoved(t *testing.T) {
	opts := Options{Compression: None, Ring: ring(t, keyA)}
	plain := append([]byte(`{"`), make([]byte, 4*segmentSize)...)
	object := sealed(t, plain, opts, here)
	swapped := bytes.Clone(object)
	copy(swapped[segmentSize:], object[2*segmentSize:3*segmentSize])
	copy(swapped[2*segmentSize:], object[segmentSize:2*segmentSize])
	for name, damaged := range map[string][]byte{"swapped": swapped, "cut between segments": object[:2*segmentSize]} {
		if _, err := opened(damaged, opts.Ring, here); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
}

func TestErrorsStay(t *testing.T) {
	opts := Options{Compression: None, Ring: ring(t, keyA)}
	object := sealed(t, append([]byte(`{"`), make([]byte, 2*segmentSize)...), opts, here)
	r, err := NewReader(bytes.NewReader(object[:len(object)-1]), opts.Ring, here)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, want ErrCorrupt", err)
	}
	if _, err := r.Read(make([]byte, 10)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("after ErrCorrupt: %v, want it again, for nobody must take this for the end", err)
	}
}

func TestContextIsBound(t *testing.T) {
	opts := Options{Ring: ring(t, keyA)}
	object := sealed(t, contents, opts, Context{DatabaseID: "ab", Name: "c"})
	for _, other := range []Context{{"ab", "d"}, {"a", "bc"}, {"abc", ""}, {"", "abc"}} {
		if _, err := opened(object, opts.Ring, other); !errors.Is(err, ErrCorrupt) {
			t.Errorf("opened in %+v: %v, want ErrCorrupt", other, err)
		}
	}
}

func TestKeys(t *testing.T) {
	object := sealed(t, contents, Options{Ring: ring(t, keyA, keyB)}, here)
	if _, err := opened(object, ring(t, keyB, keyA), here); err != nil {
		t.Errorf("any key of the ring must open: %v", err)
	}
	for name, r := range map[string]*Ring{"another key": ring(t, keyB), "no key": nil} {
		_, err := opened(object, r, here)
		var keyErr *KeyError
		if !errors.Is(err, ErrKey) || !errors.As(err, &keyErr) || keyErr.KeyID != ring(t, keyA).KeyIDs()[0] {
			t.Errorf("%s: %v, want a KeyError with the id", name, err)
		}
	}
}

// An attacker who can write to the bucket must not be able to put a plain
// object in the place of an encrypted one.
func TestPlaintextIsRefusedWithKeys(t *testing.T) {
	for _, c := range []Compression{Gzip, None} {
		object := sealed(t, contents, Options{Compression: c}, here)
		if _, err := opened(object, ring(t, keyA), here); !errors.Is(err, ErrPlaintext) {
			t.Errorf("compression %d: %v, want ErrPlaintext", c, err)
		}
	}
}

func TestWriterRefusesWhatNobodyCouldRead(t *testing.T) {
	for _, plain := range []string{"", "x", "DRIFTENC and more than sixteen bytes", "\x1f\x8b and more than sixteen bytes"} {
		for _, r := range []*Ring{nil, ring(t, keyA)} {
			w, err := NewWriter(io.Discard, Options{Compression: None, Ring: r}, here)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(w, plain)
			if err := errors.Join(err, w.Close()); err == nil {
				t.Errorf("%q was stored without compression", plain)
			}
		}
	}
}

var errBroken = errors.New("connection reset")

// A broken connection is an error of the store, never a corrupt object.
func TestSourceErrorsPassThrough(t *testing.T) {
	for name, opts := range forms(t) {
		object := sealed(t, contents, opts, here)
		for i := range object {
			for _, cause := range []error{errBroken, io.ErrUnexpectedEOF} {
				src := io.MultiReader(bytes.NewReader(object[:i]), iotest.ErrReader(cause))
				r, err := NewReader(src, opts.Ring, here)
				if err == nil {
					_, err = io.ReadAll(r)
				}
				if !errors.Is(err, cause) || errors.Is(err, ErrCorrupt) {
					t.Fatalf("%s, broken after %d bytes: %v, want %v", name, i, err, cause)
				}
			}
		}
	}
}

func TestSeal(t *testing.T) {
	for name, opts := range forms(t) {
		r := Seal(bytes.NewReader(contents), opts, here)
		object, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(name, err)
		}
		if got, err := opened(object, opts.Ring, here); err != nil || !bytes.Equal(got, contents) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestSealPassesErrorsOn(t *testing.T) {
	r := Seal(io.MultiReader(bytes.NewReader(contents), iotest.ErrReader(errBroken)), Options{}, here)
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, errBroken) {
		t.Errorf("%v, want %v: half an object must not look whole", err, errBroken)
	}
}

// After Close nobody reads plain any more, so its owner may close it.
func TestSealCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := &gatedReader{gate: make(chan struct{})}
		r := Seal(plain, Options{}, here)
		closed := make(chan error, 1)
		go func() { closed <- r.Close() }()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("Close returned while plain was being read")
		default:
		}
		close(plain.gate)
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
	})
}

// gatedReader yields bytes for ever once its gate is open.
type gatedReader struct{ gate chan struct{} }

func (g *gatedReader) Read(p []byte) (int, error) {
	<-g.gate
	rand.Read(p)
	return len(p), nil
}

// The files in testdata were sealed once and must open for ever.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := Context{DatabaseID: "0190b3c2-0000-7000-8000-000000000000", Name: "databases/app/nodes/n1/logs/000000000001-000000000002.e1.json"}
	for name, opts := range forms(t) {
		object, err := os.ReadFile(filepath.Join("testdata", "v1."+name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := opened(object, opts.Ring, c)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func FuzzNewReader(f *testing.F) {
	for _, opts := range forms(f) {
		f.Add(sealed(f, contents, opts, here))
	}
	f.Add([]byte{})
	f.Add([]byte(magic + "\x01"))
	keys := ring(f, keyA)
	f.Fuzz(func(t *testing.T, object []byte) {
		for _, r := range []*Ring{nil, keys} {
			src, err := NewReader(bytes.NewReader(object), r, here)
			if err == nil {
				_, err = io.Copy(io.Discard, io.LimitReader(src, 16<<20))
			}
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrKey) && !errors.Is(err, ErrPlaintext) && !errors.Is(err, ErrVersion) {
				t.Errorf("%v is none of our errors", err)
			}
		}
	})
}

// TestNewerEnvelope: what a newer program has sealed is not taken for damage.
func TestNewerEnvelope(t *testing.T) {
	ring, err := ParseKeys([]string{strings.Repeat("07", 32)})
	if err != nil {
		t.Fatal(err)
	}
	c := Context{DatabaseID: "d", Name: "n"}
	sealed, err := io.ReadAll(Seal(strings.NewReader(`{"a":1}`), Options{Ring: ring}, c))
	if err != nil {
		t.Fatal(err)
	}
	sealed[len(magic)]++
	if _, err := NewReader(bytes.NewReader(sealed), ring, c); !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Errorf("a newer version: %v", err)
	}
}

// TestHalves: what is compressed before its name is known, and encrypted when it is, is
// the object that a writer of both gives, also when writers are used again.
func TestHalves(t *testing.T) {
	small, large := []byte(`{"a":1}`), usersBatch()[:1<<20]
	for name, opts := range forms(t) {
		for round, plain := range [][]byte{small, large, small, large} {
			object, err := halves(plain, opts)
			if err != nil {
				t.Fatalf("%s, round %d: %v", name, round, err)
			}
			if opts.Ring == nil && !bytes.Equal(object, sealed(t, plain, opts, here)) {
				t.Errorf("%s, round %d: other bytes", name, round)
			}
			r, err := NewReader(bytes.NewReader(object), opts.Ring, here)
			if err != nil {
				t.Fatalf("%s, round %d: %v", name, round, err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, round %d: %d bytes, %v", name, round, len(got), err)
			}
		}
	}
}

func halves(plain []byte, opts Options) ([]byte, error) {
	var compressed bytes.Buffer
	w, err := Compress(&compressed, opts.Compression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close(), w.Close()); err != nil {
		return nil, err
	}
	if opts.Compression == Gzip {
		if _, err := w.Write(plain); err == nil {
			return nil, errors.New("a closed writer takes more")
		}
	}
	return Encrypt(compressed.Bytes(), opts.Ring, here)
}
