package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// repository is where files are that are no pages.
const repository = "https://github.com/driftdb/driftdb-go/blob/main/"

// page is a document that has been read.
type page struct {
	file     string // relative to the root
	title    string
	headings []heading // of the second level
	body     []byte    // HTML
	assets   []string  // the pictures that it shows, relative to the root
}

type heading struct{ ID, Text string }

// reader makes pages of documents.
type reader struct {
	root  string
	files []string // all documents
}

// read makes a page of a document.
func (r *reader) read(file string) (*page, error) {
	source, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(file)))
	if err != nil {
		return nil, err
	}
	md := goldmark.New(
		goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.Linkify),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
		goldmark.WithRendererOptions(html.WithUnsafe(), // the documents are ours
			renderer.WithNodeRenderers(util.Prioritized(codeBlocks{}, 100))),
	)
	tree := md.Parser().Parse(text.NewReader(source), parser.WithContext(parser.NewContext(parser.WithIDs(&anchors{taken: map[string]int{}}))))
	p := &page{file: file}
	err = ast.Walk(tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		return ast.WalkContinue, r.visit(p, n, source)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if p.title == "" {
		return nil, fmt.Errorf("%s has no heading of the first level", file)
	}
	var body bytes.Buffer
	err = md.Renderer().Render(&body, source, tree)
	p.body = body.Bytes()
	return p, err
}

// visit rewrites links for the page, and notes what else it needs.
func (r *reader) visit(p *page, n ast.Node, source []byte) error {
	switch n := n.(type) {
	case *ast.Heading:
		words := plain(n, source)
		if n.Level == 1 && p.title == "" {
			p.title = words
		}
		if id, ok := n.AttributeString("id"); ok && n.Level == 2 {
			p.headings = append(p.headings, heading{string(id.([]byte)), words})
		}
	case *ast.Link:
		to, err := r.link(p.file, string(n.Destination))
		n.Destination = []byte(to)
		return err
	case *ast.Image:
		return r.picture(p, string(n.Destination))
	case *ast.HTMLBlock, *ast.RawHTML:
		for _, src := range pictureSources(n, source) {
			if err := r.picture(p, src); err != nil {
				return err
			}
		}
	}
	return nil
}

// picture notes a picture, which is copied to the same place.
func (r *reader) picture(p *page, src string) error {
	asset := path.Join(path.Dir(p.file), src)
	if strings.Contains(src, ":") || strings.HasPrefix(asset, "..") || !isFile(r.root, asset) {
		return fmt.Errorf("the picture %s is not a file of the repository", src)
	}
	if !slices.Contains(p.assets, asset) {
		p.assets = append(p.assets, asset)
	}
	return nil
}

// pictureSources are the pictures in HTML of a document.
func pictureSources(n ast.Node, source []byte) (list []string) {
	var raw []byte
	switch n := n.(type) {
	case *ast.HTMLBlock:
		for i := range n.Lines().Len() {
			line := n.Lines().At(i)
			raw = append(raw, line.Value(source)...)
		}
	case *ast.RawHTML:
		for i := range n.Segments.Len() {
			part := n.Segments.At(i)
			raw = append(raw, part.Value(source)...)
		}
	}
	for _, rest := range strings.Split(string(raw), `src="`)[1:] {
		src, _, _ := strings.Cut(rest, `"`)
		list = append(list, src)
	}
	return list
}

// link makes a link of a document one of its page: to a page if there is one for the
// document, and else to the file in the repository.
func (r *reader) link(from, to string) (string, error) {
	u, err := url.Parse(to)
	if err != nil {
		return "", err
	}
	if u.Scheme != "" || u.Host != "" || u.Path == "" {
		return to, nil
	}
	file := path.Join(path.Dir(from), u.Path)
	if slices.Contains(r.files, path.Join(file, "README.md")) {
		file = path.Join(file, "README.md")
	}
	fragment := ""
	if u.Fragment != "" {
		fragment = "#" + u.Fragment
	}
	if slices.Contains(r.files, file) {
		return relative(target(from), target(file)) + fragment, nil
	}
	if _, err := os.Stat(filepath.Join(r.root, filepath.FromSlash(file))); err != nil || strings.HasPrefix(file, "..") {
		return "", fmt.Errorf("the link %s leads to nothing", to)
	}
	return repository + file + fragment, nil
}

// plain is the text of a node without its formatting.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchors names headings as the repository's host does, which the documents' links expect:
// in lower case, with hyphens for spaces, and without punctuation.
type anchors struct{ taken map[string]int }

// Generate returns the name of a heading.
func (a *anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	name := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(string(value)))
	n := a.taken[name]
	a.taken[name]++
	if n > 0 {
		name = fmt.Sprintf("%s-%d", name, n)
	}
	return []byte(name)
}

// Put notes a name that a document gives itself.
func (a *anchors) Put(value []byte) { a.taken[string(value)]++ }
