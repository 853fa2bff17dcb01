package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is a page of the documentation whose commands a test runs, one after the other, in a
// folder of its own.
type page struct {
	t        *testing.T
	name     string
	dir      string
	text     string
	settings string // assignments of variables so far, which every later command begins with
	compared int    // commands whose output was compared
}

// newPage skips the test where there is no shell.
func newPage(t *testing.T, name string) *page {
	t.Helper()
	needs(t, "sh")
	text, err := os.ReadFile("../../docs/" + name)
	check(t, err)
	return &page{t: t, name: name, dir: t.TempDir(), text: strings.ReplaceAll(string(text), "\r\n", "\n")}
}

// needs skips the test where a program is missing, except where all of them are required.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("DRIFTDB_REQUIRE_TOOLS") != "" {
				t.Fatal(err)
			}
			t.Skip("the page's commands need ", err)
		}
	}
}

func (p *page) mkdir(name string) { check(p.t, os.Mkdir(filepath.Join(p.dir, name), 0o700)) }

// play runs the page's blocks in their order: "sh" has commands that must succeed, "console"
// commands and what they print. others run the blocks of other languages; those without a
// language are for the reader only.
func (p *page) play(others map[string]func(block string)) {
	p.t.Helper()
	for _, block := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(p.text, -1) {
		switch language, text := block[1], block[2]; language {
		case "sh":
			for line := range strings.Lines(text) {
				if out, err := p.run(strings.TrimSpace(line)); err != nil {
					p.t.Fatalf("%s: $ %s (%v)\n%s", p.name, strings.TrimSpace(line), err, out)
				}
			}
		case "console":
			p.console(text)
		default:
			if run := others[language]; run != nil {
				run(text)
			}
		}
	}
}

// runsAll fails if a block of the page is in none of the languages that are run, and the
// text before it does not say that the test leaves it out.
func (p *page) runsAll(languages ...string) {
	p.t.Helper()
	open := false
	var before string // the lines since the last block
	for line := range strings.Lines(p.text) {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open:
			open, before = false, ""
		case fence:
			open = true
			language = strings.TrimSpace(language)
			if !slices.Contains(languages, language) && !strings.Contains(before, "run this line") && !strings.Contains(before, "run by the test") {
				p.t.Errorf("%s: no test runs this block, and the text does not say so: %q, after %q", p.name, language, before)
			}
		case !open:
			before += line
		}
	}
	if open {
		p.t.Errorf("%s: the last block has no end", p.name)
	}
}

// console runs commands and compares what they print.
func (p *page) console(text string) {
	p.t.Helper()
	for _, part := range strings.Split("\n"+text, "\n$ ")[1:] {
		command, want, _ := strings.Cut(part, "\n")
		for strings.HasSuffix(command, "\\") {
			var more string
			more, want, _ = strings.Cut(want, "\n")
			command += "\n" + strings.TrimPrefix(more, "> ")
		}
		assigned := p.assigns(command)
		out, err := p.run(command)
		if assigned {
			continue
		}
		p.compared++
		if got := plainly(out); got != plainly(want) {
			p.t.Errorf("%s: $ %s (%v)\n%s\nThe page has\n%s", p.name, command, err, out, want)
		}
	}
}

// assigns reports whether a command sets a variable for the commands after it.
func (*page) assigns(command string) bool {
	return regexp.MustCompile(`^(export )?\w+=\S`).MatchString(command)
}

// run runs a command in a shell that has the page's variables.
func (p *page) run(command string) (out string, err error) {
	if p.assigns(command) {
		p.settings += command + "\n"
		return "", nil
	}
	cmd := exec.CommandContext(p.t.Context(), "sh", "-c", p.settings+command+" 2>&1")
	cmd.Dir = p.dir
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// varies are parts of the output that are different each time: times, places, random ids,
// and how long something took.
var varies = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?|file://[^ ']*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\bin \d+\.\d s\b`)

// plainly is output without what varies. The pages have aligned tables, as on a terminal;
// here there is none, so that they have tabs and no line below their names.
func plainly(out string) string {
	out = varies.ReplaceAllString(out, "*")
	var lines []string
	for line := range strings.Lines(out) {
		line = strings.Join(strings.Fields(line), " ")
		if strings.Trim(line, "- ") != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
