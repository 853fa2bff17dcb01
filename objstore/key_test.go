package objstore

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestValidKey(t *testing.T) {
	for _, key := range []string{
		"a", "a/b", "...", ".a", "a..b", "a b", "ü/日本", "a%2Fb", "databases/app/manifest.json", strings.Repeat("k", 1024),
	} {
		if err := ValidKey(key); err != nil {
			t.Errorf("ValidKey(%q): %v", key, err)
		}
	}
	for key, reason := range map[string]string{
		"": "empty", "/a": "slash", "a/": "slash", "a//b": "slash", ".": "element .", "a/..": "element ..", "a\\b": "U+005C",
		"a\x00": "U+0000", "a\nb": "U+000A", "a\u0080": "U+0080", "\xff": "UTF-8", "\uffff": "U+FFFF", strings.Repeat("k", 1025): "1025 bytes",
	} {
		err := ValidKey(key)
		if !errors.Is(err, ErrInvalidKey) || !strings.Contains(err.Error(), reason) {
			t.Errorf("ValidKey(%.20q): %v, want %q", key, err, reason)
		}
	}
}

// A valid key is a path that stays where it is put.
func FuzzValidKey(f *testing.F) {
	for _, key := range []string{"a/b", "../a", "a//b", "a\x00", "\xff", "."} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if ValidKey(key) == nil && (!fs.ValidPath(key) || key == "." || len(key) > 1024 || strings.ContainsAny(key, "\\\x00\n")) {
			t.Errorf("ValidKey(%q) is nil", key)
		}
	})
}
