package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed layout.html
var layoutText string

//go:embed style.css
var styleText []byte

// marker is a file in the folder of the site, by which a later build knows that it may
// delete the folder.
const marker = ".driftdb-site"

// view is what the layout shows.
type view struct {
	Title, Home, Style string
	Sections           []section
	Headings           []heading
	Body               template.HTML

	page *page
}

// Link is a link to a page of the navigation.
func (v view) Link(e entry) string { return relative(target(v.page.file), target(e.file)) }

// Here reports whether it is this page.
func (v view) Here(e entry) bool { return e.file == v.page.file }

// InSection reports whether this page is in a section.
func (v view) InSection(s section) bool {
	for _, e := range s.Pages {
		if v.Here(e) {
			return true
		}
	}
	return false
}

// build writes the site of the repository at root to a folder, which it replaces if it is
// one, and returns how many pages there are.
func build(root, out string) (int, error) {
	layout, err := template.New("layout").Parse(layoutText)
	if err != nil {
		return 0, err
	}
	nav, files, err := documents(root)
	if err != nil {
		return 0, err
	}
	r := &reader{root, files}
	pages := map[string]*page{}
	for _, file := range files {
		if pages[file], err = r.read(file); err != nil {
			return 0, err
		}
	}
	for i := range nav {
		for _, file := range nav[i].files {
			nav[i].Pages = append(nav[i].Pages, entry{pages[file].title, file})
		}
	}
	if err := empty(out); err != nil {
		return 0, err
	}
	for _, file := range files {
		if err := write(root, out, layout, nav, pages[file]); err != nil {
			return 0, err
		}
	}
	code, err := codeStyle()
	if err != nil {
		return 0, err
	}
	return len(files), put(out, "style.css", append(bytes.Clone(styleText), code...))
}

// empty makes the folder anew.
func empty(out string) error {
	there, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(out, marker)); err != nil && len(there) > 0 {
		return fmt.Errorf("%s is not a folder of the site: choose one that is empty", out)
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return put(out, marker, nil)
}

// write writes a page, and the pictures that it shows.
func write(root, out string, layout *template.Template, nav []section, p *page) error {
	to := target(p.file)
	v := view{
		Title: p.title, Home: relative(to, "index.html"), Style: relative(to, "style.css"),
		Sections: nav, Headings: p.headings, Body: template.HTML(p.body), page: p,
	}
	var b bytes.Buffer
	if err := layout.Execute(&b, v); err != nil {
		return fmt.Errorf("%s: %w", p.file, err)
	}
	if err := put(out, to, b.Bytes()); err != nil {
		return err
	}
	for _, asset := range p.assets {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(asset)))
		if err != nil {
			return err
		}
		if err := put(out, asset, data); err != nil {
			return err
		}
	}
	return nil
}

func put(out, name string, data []byte) error {
	file := filepath.Join(out, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
