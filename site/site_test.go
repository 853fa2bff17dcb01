package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// built is the site, of which each test looks at something.
func built(t *testing.T) (folder string, pages map[string]*document) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "public")
	n, err := build(root, folder)
	if err != nil {
		t.Fatal(err)
	}
	pages = map[string]*document{}
	err = filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".html") {
			return err
		}
		rel, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		pages[filepath.ToSlash(rel)] = parse(t, filepath.ToSlash(rel), string(data))
		return err
	})
	if err != nil || len(pages) != n || n < 30 {
		t.Fatalf("%d pages, of %d; %v", len(pages), n, err)
	}
	return folder, pages
}

// document is what a page has.
type document struct {
	text    string
	ids     map[string]bool
	links   []string // of a
	loads   []string // of everything that a browser fetches by itself
	counts  map[string]int
	classes map[string]bool
}

// void elements have no end tag.
var void = []string{"meta", "link", "img", "br", "hr", "input", "col", "wbr"}

// parse reads a page, and fails for tags that do not match and names that are there twice.
func parse(t *testing.T, name, text string) *document {
	t.Helper()
	d := &document{text: text, ids: map[string]bool{}, counts: map[string]int{}, classes: map[string]bool{}}
	if !strings.HasPrefix(text, "<!doctype html>\n<html lang=\"en\">") {
		t.Errorf("%s begins with %.60q", name, text)
	}
	var open []string
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			if !errors.Is(z.Err(), io.EOF) {
				t.Errorf("%s: %v", name, z.Err())
			}
			break
		}
		tag := z.Token()
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken:
			d.note(t, name, tag)
			if !slices.Contains(void, tag.Data) && kind == html.StartTagToken {
				open = append(open, tag.Data)
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != tag.Data {
				t.Fatalf("%s: </%s> closes %q", name, tag.Data, open)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("%s leaves %q open", name, open)
	}
	return d
}

func (d *document) note(t *testing.T, name string, tag html.Token) {
	t.Helper()
	d.counts[tag.Data]++
	for _, a := range tag.Attr {
		switch {
		case a.Key == "id" && d.ids[a.Val]:
			t.Errorf("%s has the name %q twice", name, a.Val)
		case a.Key == "id":
			d.ids[a.Val] = true
		case a.Key == "class":
			d.classes[a.Val] = true
		case a.Key == "href" && tag.Data == "a":
			d.links = append(d.links, a.Val)
		case a.Key == "href", a.Key == "src", a.Key == "srcset":
			d.loads = append(d.loads, a.Val)
		case strings.HasPrefix(a.Key, "on"), a.Key == "style":
			t.Errorf("%s has an attribute %s", name, a.Key)
		}
	}
}

// TestLinks: each link leads to a page, a heading or a file that is there, and no page
// loads anything from elsewhere.
func TestLinks(t *testing.T) {
	folder, pages := built(t)
	links := 0
	for name, d := range pages {
		for _, link := range append(slices.Clone(d.links), d.loads...) {
			u, err := url.Parse(link)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				if slices.Contains(d.loads, link) && link != "data:," {
					t.Errorf("%s loads %s", name, link)
				}
				continue
			}
			links++
			to := name
			if u.Path != "" {
				to = path.Join(path.Dir(name), u.Path)
			}
			if _, err := os.Stat(filepath.Join(folder, filepath.FromSlash(to))); err != nil {
				t.Errorf("%s: %s: %v", name, link, err)
			} else if other := pages[to]; u.Fragment != "" && (other == nil || !other.ids[u.Fragment]) {
				t.Errorf("%s: %s: there is no such heading", name, link)
			}
		}
	}
	if links < 1000 {
		t.Errorf("only %d links", links)
	}
	style, err := os.ReadFile(filepath.Join(folder, "style.css"))
	if err != nil || strings.Contains(string(style), "url(") || strings.Contains(string(style), "@import") {
		t.Errorf("the style sheet loads something, or is not there: %v", err)
	}
	before, code, _ := strings.Cut(string(style), "@media (prefers-color-scheme: light)")
	light, dark, _ := strings.Cut(code, "@media (prefers-color-scheme: dark)")
	for what, rules := range map[string]string{"light": light, "dark": dark} {
		if strings.Contains(before, ".chroma") || !strings.Contains(rules, ".chroma .k ") {
			t.Errorf("%s code has not its own colours", what)
		}
	}
}

// TestPages: each page has one title, the navigation with every page, where it is, and
// coloured code.
func TestPages(t *testing.T) {
	_, pages := built(t)
	documents, err := list(root, "docs/*.md")
	if err != nil || len(documents) < 15 {
		t.Fatalf("%q, %v", documents, err)
	}
	for name, d := range pages {
		if d.counts["h1"] != 1 || d.counts["title"] != 1 || d.counts["main"] != 1 || d.counts["script"] != 0 || d.counts["iframe"] != 0 {
			t.Errorf("%s: %v", name, d.counts)
		}
		if n := strings.Count(d.text, `aria-current="page"`); n != 1 {
			t.Errorf("%s is %d times in its navigation", name, n)
		}
		for other := range pages {
			if !slices.Contains(d.links, relative(name, other)) {
				t.Errorf("%s has no link to %s", name, other)
			}
		}
	}
	for _, file := range documents {
		if pages[target(file)] == nil {
			t.Errorf("%s has no page", file)
		}
	}
	tutorial := pages["docs/TUTORIAL.html"]
	if !tutorial.classes["chroma"] || !tutorial.classes["kn"] || strings.Contains(tutorial.text, "&lt;!--") {
		t.Error("the tutorial's code has no colours")
	}
	if len(pages["docs/adr/index.html"].links) < 40 {
		t.Error("the decisions are not listed")
	}
}

// TestRefused: what would make a page with a dead link, or delete a stranger's folder.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"dead link":    {"# A\n[b](none.md)", "none.md"},
		"outside":      {"# A\n[b](../../x)", "../../x"},
		"dead picture": {"# A\n![b](none.png)", "none.png"},
		"far picture":  {"# A\n![b](https://example.com/a.png)", "example.com"},
		"raw picture":  {"# A\n<img src=\"https://example.com/a.png\">", "example.com"},
		"no heading":   {"A", "no heading"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.md"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &reader{dir, []string{"a.md"}}
		if _, err := r.read("a.md"); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mine := t.TempDir()
	if err := os.WriteFile(filepath.Join(mine, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := build(root, mine); err == nil || !strings.Contains(err.Error(), "not a folder of the site") {
		t.Errorf("a folder with a letter: %v", err)
	}
	if _, err := os.Stat(filepath.Join(mine, "letter")); err != nil {
		t.Error(err)
	}
	folder, _ := built(t)
	if _, err := build(root, folder); err != nil { // again
		t.Error(err)
	}
}

// TestNew: a page that the navigation does not name is an error.
func TestNew(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "docs"), 0o700), os.WriteFile(filepath.Join(dir, "docs", "NEW.md"), []byte("# New"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := documents(dir); err == nil || !strings.Contains(err.Error(), "docs/NEW.md is not in the navigation") {
		t.Error(err)
	}
}

// TestAnchors: the names of headings, those that are there more than once included.
func TestAnchors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.md"), []byte("# A\n## What `x_y` is: a-b?\n## Two\n## Two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := (&reader{dir, []string{"a.md"}}).read("a.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.headings); got != "[{what-x_y-is-a-b What x_y is: a-b?} {two Two} {two-1 Two}]" {
		t.Error(got)
	}
}

func TestRelative(t *testing.T) {
	for _, c := range [][3]string{
		{"index.html", "docs/a.html", "docs/a.html"}, {"docs/a.html", "index.html", "../index.html"},
		{"docs/a.html", "docs/b.html", "b.html"}, {"docs/adr/a.html", "docs/b.html", "../b.html"},
		{"docs/a.html", "docs/adr/b.html", "adr/b.html"}, {"docs/adr/a.html", "examples/b.html", "../../examples/b.html"},
	} {
		if got := relative(c[0], c[1]); got != c[2] {
			t.Errorf("from %s to %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}
