package objstore

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	folder := t.TempDir()
	u := &url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}
	if !strings.HasPrefix(u.Path, "/") { // Windows
		u.Path = "/" + u.Path
	}
	s, err := Open(t.Context(), u.String())
	if err != nil || s.(*dir).path != folder {
		t.Fatalf("Open(%q) = %+v, %v", u, s, err)
	}
	for text, raw := range map[string]string{
		"no scheme":                 folder,
		"file:///C:/path":           `C:\backups`,
		`"gopher" in the`:           "gopher://host/path",
		"known: file":               "gopher://host/path",
		`unknown parameter "a"`:     u.String() + "?a=b",
		"parameters":                u.String() + "?%zz",
		"fragment":                  u.String() + "#frag",
		"user name or password":     "file://me:hunter2@" + u.Path,
		"three slashes":             "file:relative/path",
		"parse the store's URL":     "file://me:hunter2@ho st/%",
		"does not exist; create it": u.String() + "/missing",
	} {
		if _, err := Open(t.Context(), raw); err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q): %v, want %q", raw, err, text)
		}
	}
	if _, err := Open(t.Context(), u.String()+"/missing"); !errors.Is(err, ErrNoBucket) {
		t.Errorf("a missing folder: %v, want ErrNoBucket", err)
	}
}

func TestFilePath(t *testing.T) {
	for _, c := range []struct{ raw, goos, want string }{
		{"file:///srv/backup", "linux", "/srv/backup"},
		{"file://localhost/srv/back%20up%3F", "darwin", "/srv/back up?"},
		{"file:///C:/backup", "linux", "/C:/backup"},
		{"file://host/srv", "linux", ""},
		{"file:srv", "linux", ""},
		{"file://", "linux", ""},
		{"file:///C:/back%20up/x", "windows", `C:\back up\x`},
		{"file:///C:/", "windows", `C:\`},
		{"file://server/share/x", "windows", `\\server\share\x`},
		{"file:///backup", "windows", ""},
		{"file:///C:", "windows", ""},
	} {
		u, err := url.Parse(c.raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := filePath(u, c.goos)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s on %s: %q, %v, want %q", c.raw, c.goos, got, err, c.want)
		}
	}
}

func TestRegister(t *testing.T) {
	Register("test-scheme", func(context.Context, *url.URL) (Store, error) { return Mem(), nil })
	t.Cleanup(func() { delete(schemes, "test-scheme") })
	if _, err := Open(t.Context(), "test-scheme://x?y=z"); err != nil {
		t.Error(err)
	}
	for what, register := range map[string]func(){
		"twice": func() { Register("file", openFile) },
		"nil":   func() { Register("other", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("registering %s does not panic", what)
				}
			}()
			register()
		}()
	}
}
