package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

// withMAC is m as version 1 stored it where there were keys.
func withMAC(t testing.TB, m *Manifest, ring *seal.Ring) []byte {
	t.Helper()
	c := m.listed()
	c.FormatVersion = textVersion
	plain, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		c.MAC, err = ring.MAC(c.macContext(), plain)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// TestManifestWhole: no bit of a manifest changes unnoticed, with and without
// keys.
func TestManifestWhole(t *testing.T) {
	for _, keys := range [][]string{nil, {strings.Repeat("07", 32)}} {
		b := New(nil, "app", seal.Options{Ring: ringOf(t, keys...)})
		m := newWorld(t).manifest("abc", Span{"n", 1, 1, 2}, Span{"m", 2, 3, 0})
		raw, err := b.encode(m, manifestKey("app"))
		if err != nil {
			t.Fatal(err)
		}
		forms := [][]byte{raw}
		if keys != nil {
			forms = append(forms, withMAC(t, m, b.opts.Ring))
		}
		for _, raw := range forms {
			good, err := b.decode(manifestKey("app"), bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			step := 1
			if bytes.HasPrefix(raw, []byte("DRIFTENC")) {
				step = 7 // a bit of each byte: they are all alike, and each takes its time
			}
			for bit := 0; bit < 8*len(raw); bit += step {
				bad := bytes.Clone(raw)
				bad[bit/8] ^= 1 << (bit % 8)
				got, err := b.decode(manifestKey("app"), bytes.NewReader(bad))
				if err != nil {
					continue
				}
				got.MAC = good.MAC // may be in capitals
				if !reflect.DeepEqual(got, good) {
					t.Errorf("%d keys: bit %d of byte %d: %s", len(keys), bit%8, bit/8, bad)
				}
			}
		}
	}
}

func ringOf(t testing.TB, keys ...string) *seal.Ring {
	t.Helper()
	ring, err := seal.ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// TestManifestVersions: with keys a manifest is sealed, and opens as what it is only; what
// an older program has written with keys is read, and sealed with the next swap.
func TestManifestVersions(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	ring := ringOf(t, strings.Repeat("07", 32))
	keyed := New(w.store, "app", seal.Options{Ring: ring})
	m := w.manifest("abc", Span{"n", 1, 1, 0})
	w.replace(manifestKey("app"), withMAC(t, m, ring))
	old, err := keyed.Manifest(ctx)
	if err != nil || old.MAC == "" || old.FormatVersion != textVersion {
		t.Fatalf("version 1 with a MAC: %+v, %v", old.Manifest, err)
	}
	if _, err := w.b.Manifest(ctx); !errors.Is(err, seal.ErrKey) {
		t.Errorf("version 1 with a MAC, without keys: %v", err)
	}
	if _, err := keyed.Swap(ctx, old, old.Manifest); err != nil {
		t.Fatal(err)
	}
	sealed := w.object(manifestKey("app"))
	if !bytes.HasPrefix(sealed, []byte("DRIFTENC")) || bytes.Contains(sealed, []byte("{")) && json.Valid(sealed) {
		t.Errorf("with keys, the manifest is %q", sealed)
	}
	now, err := keyed.Manifest(ctx)
	if err != nil || now.FormatVersion != sealedVersion || now.MAC != "" || now.Checksum != "" || now.ChainHead != m.ChainHead {
		t.Errorf("version 2: %+v, %v", now.Manifest, err)
	}
	var missing *seal.KeyError
	if _, err := w.b.Manifest(ctx); !errors.As(err, &missing) || missing.KeyID != ring.KeyIDs()[0] {
		t.Errorf("version 2, without keys: %v", err)
	}
	branch := Batch{NodeID: "n", From: 4, To: 5, Epoch: 1}
	for name, as := range map[string]*Bucket{branchKey("app", branch): keyed, manifestKey("other"): New(w.store, "other", keyed.opts)} {
		if _, err := w.store.Put(ctx, name, bytes.NewReader(sealed), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := as.load(ctx, name); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("the manifest under %s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		content string
		want    error
	}{
		"text without a MAC": {`{"formatVersion":1}`, seal.ErrPlaintext},
		"text of version 2":  {`{"formatVersion":2}`, ErrCorrupt},
		"text of a newer":    {`{"formatVersion":3}`, ErrVersion},
		"nothing":            {"", ErrCorrupt},
		"cut":                {string(sealed[:len(sealed)/2]), seal.ErrCorrupt},
		"a newer envelope":   {"DRIFTENC\x02" + string(sealed[9:]), seal.ErrVersion},
	} {
		w.replace(manifestKey("app"), []byte(c.content))
		if _, err := keyed.Manifest(ctx); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSealedContent: what is sealed is a manifest of version 2 and not too large.
func TestSealedContent(t *testing.T) {
	b := New(nil, "app", seal.Options{Ring: ringOf(t, strings.Repeat("07", 32))})
	key := manifestKey("app")
	for name, content := range map[string]string{
		"version 1": `{"formatVersion":1}`,
		"a tail":    `{"formatVersion":2}{}`,
		"a MAC":     `{"formatVersion":2,"mac":"x"}`,
		"a bomb":    `{"formatVersion":2,"dbName":"` + strings.Repeat("a", maxManifest),
	} {
		var object bytes.Buffer
		w, err := seal.NewWriter(&object, b.opts, b.manifestContext(key))
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.decode(key, &object); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
