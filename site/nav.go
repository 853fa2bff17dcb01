package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// section is a part of the navigation.
type section struct {
	Title string
	files []string // relative to the root
	Pages []entry
}

// entry is a page in the navigation.
type entry struct {
	Title string
	file  string
}

// sections is the navigation, in its order.
func sections() []section {
	return []section{
		{Title: "To learn and to decide", files: []string{"README.md", "docs/TUTORIAL.md", "examples/README.md", "docs/FAQ.md", "docs/LIMITS.md", "docs/COST.md", "docs/COMPARISON.md", "docs/MIGRATION.md", "docs/GORM.md"}},
		{Title: "To run it", files: []string{"docs/PROVIDERS.md", "docs/OPERATIONS.md", "docs/METRICS.md", "docs/recipes.md", "docs/TIME-MACHINE.md", "docs/INSPECTOR.md", "docs/FOLLOWERS.md", "docs/CHANGES.md"}},
		{Title: "To see inside", files: []string{"docs/ARCHITECTURE.md", "docs/FORMAT.md", "docs/BENCHMARKS.md"}},
		{Title: "The project", files: []string{"CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "THIRD_PARTY.md"}},
	}
}

// documents lists all documents, and completes the navigation. A page of docs that the
// navigation does not name is an error: nobody would find it.
func documents(root string) (nav []section, files []string, err error) {
	nav = sections()
	for _, s := range nav {
		files = append(files, s.files...)
	}
	pages, err := list(root, "docs/*.md")
	if err != nil {
		return nil, nil, err
	}
	for _, page := range pages {
		if !slices.Contains(files, page) {
			return nil, nil, fmt.Errorf("%s is not in the navigation: add it to sections in nav.go", page)
		}
	}
	decisions, err := list(root, "docs/adr/*.md")
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(decisions, func(a, b string) int { // the list of them first
		return strings.Compare(strings.Replace(a, "README", "0", 1), strings.Replace(b, "README", "0", 1))
	})
	nav = slices.Insert(nav, 3, section{Title: "Decisions", files: decisions})
	return nav, append(files, decisions...), nil
}

// list returns the files that match a pattern, relative to the root, with slashes.
func list(root, pattern string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
	if err != nil {
		return nil, err
	}
	for i, file := range found {
		if found[i], err = filepath.Rel(root, file); err != nil {
			return nil, err
		}
		found[i] = filepath.ToSlash(found[i])
	}
	return found, nil
}

// target is where the page of a document is.
func target(file string) string {
	switch folder, name := path.Split(file); name {
	case "README.md":
		return folder + "index.html"
	default:
		return folder + strings.TrimSuffix(name, ".md") + ".html"
	}
}

// relative is a link from one page to another.
func relative(from, to string) string {
	up := strings.Count(from, "/")
	fromParts, toParts := strings.Split(from, "/"), strings.Split(to, "/")
	for len(fromParts) > 1 && len(toParts) > 1 && fromParts[0] == toParts[0] {
		fromParts, toParts, up = fromParts[1:], toParts[1:], up-1
	}
	return strings.Repeat("../", up) + strings.Join(toParts, "/")
}

// isFile reports whether the root has a regular file of this name.
func isFile(root, file string) bool {
	info, err := os.Stat(filepath.Join(root, filepath.FromSlash(file)))
	return err == nil && info.Mode().IsRegular()
}
