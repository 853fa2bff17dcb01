package main

import (
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const demoPicture = "../../docs/img/demo.svg"

// TestDemoPicture: the README's picture of the demo shows what it prints today, but for
// sizes and times. DRIFTDB_DEMO_PICTURE=1 makes it anew.
func TestDemoPicture(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	out, err := exec.CommandContext(t.Context(), "driftdb", "demo").Output()
	check(t, err)
	drawn := drawDemo(string(out))
	if os.Getenv("DRIFTDB_DEMO_PICTURE") != "" {
		f, err := os.Create(demoPicture)
		check(t, err)
		_, err = f.WriteString(drawn)
		check(t, errors.Join(err, f.Close()))
	}
	have, err := os.ReadFile(filepath.FromSlash(demoPicture))
	check(t, err)
	if len(have) > 100<<10 {
		t.Errorf("the picture has %d bytes", len(have))
	}
	if got, want := withoutTimes(string(have)), withoutTimes(drawn); got != want {
		t.Errorf("%s shows\n%s\nand the demo is\n%s\nmake picture draws it anew", demoPicture, got, want)
	}
}

// withoutTimes is a picture without the numbers that are not always the same.
func withoutTimes(svg string) string {
	svg = strings.ReplaceAll(svg, "\r\n", "\n")
	for _, pattern := range []string{`[0-9.]+ KiB`, `[0-9.]+ m?s\b`, `([0-9a-f]{2} ){11}[0-9a-f]{2}`, `\d+ PUT, \d+ LIST and \d+ GET`, `\$[0-9.]+ at`} {
		svg = regexp.MustCompile(pattern).ReplaceAllString(svg, "*")
	}
	return svg
}

// drawDemo draws a terminal. Its colours follow the reader's preference.
func drawDemo(text string) string {
	const line, left, top = 19, 20, 34
	lines := strings.Split("$ driftdb demo\n"+strings.TrimRight(text, "\n"), "\n")
	var b strings.Builder
	height := top + line*len(lines) + 8
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 %d" width="720" height="%d" role="img" aria-labelledby="t">
<title id="t">driftdb demo in a terminal</title>
<style>
rect { fill: #f6f8fa; stroke: #d0d7de }
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; white-space: pre }
.h { fill: #0550ae; font-weight: bold } .g { fill: #116329 } .p { fill: #59636e }
@media (prefers-color-scheme: dark) {
  rect { fill: #0d1117; stroke: #30363d } text { fill: #e6edf3 }
  .h { fill: #79c0ff } .g { fill: #7ee787 } .p { fill: #9198a1 }
}
</style>
<rect x="0.5" y="0.5" width="719" height="%d" rx="8"/>
`, height, height, height-1)
	for i, l := range lines {
		if l == "" {
			continue
		}
		class := ""
		switch {
		case regexp.MustCompile(`^\d\. `).MatchString(l):
			class = ` class="h"`
		case regexp.MustCompile(`^   (Every row is back|Undone|B does not know|driftdb verify notices|Without the key)`).MatchString(l):
			class = ` class="g"`
		case strings.HasPrefix(l, "$ "):
			class = ` class="p"`
		}
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\"%s xml:space=\"preserve\">%s</text>\n", left, top+line*i, class, html.EscapeString(l))
	}
	return b.String() + "</svg>\n"
}
