package main

import (
	"fmt"
	"strings"
)

// table returns the rates as a Markdown table.
func (r rates) table() string {
	var b strings.Builder
	b.WriteString("| operations or rows per second |")
	for _, s := range sides {
		fmt.Fprintf(&b, " %s |", s)
	}
	b.WriteString(" DriftDB / better-sqlite3 | / better-sqlite3+log | / database/sql | syncing / not | engine / better-sqlite3 |\n|---|")
	b.WriteString(strings.Repeat("---|", len(sides)+5) + "\n")
	for _, w := range works {
		if r[w.name] == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s |", w.text)
		for _, s := range sides {
			if rates := r[w.name][s]; len(rates) > 0 {
				fmt.Fprintf(&b, " %s |", thousands(int(median(rates))))
			} else {
				b.WriteString(" |")
			}
		}
		for _, pair := range [][2]string{{sideOurs, sidePlain}, {sideOurs, sideLogged}, {sideOurs, plainGo}, {sideSynced, sideOurs}, {sideEngine, sidePlain}} {
			if ratio := r.ratio(w.name, pair[0], pair[1]); ratio > 0 {
				fmt.Fprintf(&b, " %.2f |", ratio)
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// The chart's measures, in pixels.
const (
	chartWidth  = 760
	chartLeft   = 230 // of the bars
	chartScale  = 500 // of the longest bar
	barHeight   = 14
	groupMargin = 16
)

// bars are the sides that the chart shows for each kind of work.
var bars = []struct{ side, colour string }{
	{sideOurs, "#2563eb"}, {sideSynced, "#93c5fd"}, {sideLogged, "#f59e0b"}, {plainGo, "#a8a29e"},
}

// chart returns the rates as SVG: bars, with a line for the plain better-sqlite3 or, where
// it has no figure, for database/sql.
func (r rates) chart() string {
	longest := 1.0
	for _, w := range works {
		for _, bar := range bars {
			longest = max(longest, r.ratio(w.name, bar.side, base(w)))
		}
	}
	var b strings.Builder
	y := 40
	for _, w := range works {
		if r[w.name] == nil {
			continue
		}
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", chartLeft-10, y+barHeight, w.text)
		for _, bar := range bars {
			ratio := r.ratio(w.name, bar.side, base(w))
			if ratio == 0 || bar.side == base(w) {
				continue
			}
			width := ratio / longest * chartScale
			fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>", chartLeft, y, width, barHeight-2, bar.colour)
			fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\" class=\"n\">%.2f</text>\n", chartLeft+width+4, y+barHeight-4, ratio)
			y += barHeight
		}
		y += groupMargin
	}
	one := chartLeft + chartScale/longest
	fmt.Fprintf(&b, "<line x1=\"%.1f\" y1=\"30\" x2=\"%.1f\" y2=\"%d\" stroke=\"#78716c\" stroke-dasharray=\"3 3\"/>\n", one, one, y)
	x := chartLeft
	for _, bar := range bars {
		fmt.Fprintf(&b, "<rect x=\"%d\" y=\"8\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"17\">%s</text>\n", x, bar.colour, x+14, bar.side)
		x += 40 + 7*len(bar.side)
	}
	note := "The line is better-sqlite3 without a log; where it has no figure, database/sql. Longer is faster."
	fmt.Fprintf(&b, "<text x=\"10\" y=\"%d\">%s</text>\n", y+20, note)
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"Rates beside better-sqlite3\">\n"+
		"<style>text { font: 12px sans-serif; fill: #44403c } .n { font-size: 10px }</style>\n"+
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n%s</svg>\n", chartWidth+40, y+32, b.String())
}

// base returns the side that the work's bars are compared with.
func base(w work) string {
	if w.concurrent() {
		return plainGo
	}
	return sidePlain
}
