package main

import (
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/statement"
	"github.com/driftdb/driftdb-go/internal/terminal"
)

// changePrinter prints changes: as JSON, as SQL, or for people in a block for each
// transaction.
type changePrinter struct {
	app             *app
	out             *terminal.Screen
	flush           func() error
	colours         bool
	sql, live       bool // live: each change is shown at once
	printed         int64
	tx              int64 // whose block is open; 0: none
	block           []driftdb.Change
	escaped, broken bool // whether SQL had characters that were escaped, and that was said
}

// mostInBlock is how many changes of a transaction are held back to count them.
const mostInBlock = 10_000

func (a *app) newChangePrinter(sql, live bool) *changePrinter {
	p := &changePrinter{app: a, sql: sql, live: live, colours: a.stdout.Colours()}
	p.out, p.flush = a.stdout.Buffered()
	return p
}

func (p *changePrinter) print(c driftdb.Change) (err error) {
	p.printed++
	switch {
	case p.app.json:
		err = p.out.JSON(jsonChange(c))
	case p.sql:
		err = p.statement(c)
	default:
		err = p.text(c)
	}
	if err == nil && p.live {
		err = p.flush()
	}
	return err
}

// end ends the block that is open.
func (p *changePrinter) end() error {
	p.close()
	return p.flush()
}

func (p *changePrinter) close() {
	switch {
	case p.sql && p.tx != 0:
		p.out.Printf("COMMIT;\n")
	case len(p.block) > 0:
		p.header(p.block[0], plural(int64(len(p.block)), "change", "changes"))
		p.lines()
	}
	p.tx = 0
}

// text prints a change for people. The number of a transaction's changes is only known at
// its end.
func (p *changePrinter) text(c driftdb.Change) error {
	if c.Tx != p.tx {
		p.close()
		p.tx = c.Tx
		if p.live {
			p.header(c, "")
		}
	} else if !p.live && len(p.block) == 0 { // the header has been printed
		return p.line(c)
	}
	if p.live {
		return p.line(c)
	}
	if p.block = append(p.block, c); len(p.block) > mostInBlock {
		p.header(c, "more than "+count(mostInBlock)+" changes")
		p.lines()
	}
	return nil
}

func (p *changePrinter) header(c driftdb.Change, changes string) {
	if changes != "" {
		changes = ", " + changes
	}
	var format terminal.Format = "%s transaction %d%s\n"
	if p.colours {
		format = "\x1b[1m%s transaction %d\x1b[0m%s\n"
	}
	p.out.Printf(format, stamp(c.Time), c.Tx, changes)
}

func (p *changePrinter) lines() {
	for _, c := range p.block {
		_ = p.line(c) // flush returns the error
	}
	p.block = p.block[:0]
}

func (p *changePrinter) line(c driftdb.Change) error {
	var format terminal.Format = "  %d %s %s%s\n"
	if p.colours {
		switch c.Operation {
		case driftdb.OperationInsert:
			format = "  %d %s \x1b[32m%s\x1b[0m%s\n"
		case driftdb.OperationUpdate:
			format = "  %d %s \x1b[33m%s\x1b[0m%s\n"
		case driftdb.OperationDelete:
			format = "  %d %s \x1b[31m%s\x1b[0m%s\n"
		default:
			format = "  %d %s \x1b[36m%s\x1b[0m%s\n"
		}
	}
	return p.out.Printf(format, c.Sequence, tableOf(c), string(c.Operation), changeDetails(c))
}

// statement prints the statements that make c again, in those of its transaction.
func (p *changePrinter) statement(c driftdb.Change) error {
	if p.printed == 1 {
		p.script(statement.Preamble)
	}
	if c.Tx != p.tx {
		p.close()
		p.tx = c.Tx
		p.out.Printf("-- %s transaction %d\nBEGIN;\n", stamp(c.Time), c.Tx)
	}
	if text := c.Statement(); text != "" {
		p.script(text + "\n")
	}
	return nil
}

// script prints SQL with its line breaks and tabs. It escapes other characters that a
// terminal may obey, which only names and statements of the schema have.
func (p *changePrinter) script(text string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		for i, part := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			if i > 0 {
				p.out.Printf("\t")
			}
			p.out.Printf("%s", part)
			p.escaped = p.escaped || terminal.Escape(part) != part
		}
		p.out.Printf("\n")
	}
	if p.escaped && !p.broken {
		p.broken = true
		p.app.stderr.Printf("note: a name or statement has characters that cannot be printed; they are escaped, so that statement will not run\n")
	}
}
