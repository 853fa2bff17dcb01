package sqlite

import (
	"context"
	"errors"
	"io"
)

// Pages returns c's database as the bytes of a file: its pages in order, as c's read
// transaction sees them, read on demand. The file is marked as not in WAL mode, so that it
// stands on its own. Nothing else may use c until the reader is closed. Reads fail once ctx
// has ended.
func (c *Conn) Pages(ctx context.Context) (io.ReadCloser, error) {
	if c.Autocommit() {
		return nil, errors.New("sqlite: the pages of a database are read in a transaction, or they do not belong together")
	}
	st, err := c.Prepare("SELECT data FROM sqlite_dbpage('main') ORDER BY pgno")
	if err != nil {
		return nil, err
	}
	return &pages{ctx: ctx, st: st}, nil
}

type pages struct {
	ctx   context.Context
	st    *Stmt
	left  []byte // unread rest of the statement's current page
	start bool   // the first page has been read
	err   error
}

// These two bytes of a database file hold whether it is in WAL mode.
const (
	writeVersion, readVersion = 18, 19
	rollbackJournal           = 1
	walJournal                = 2
)

func (p *pages) Read(b []byte) (n int, err error) {
	for n < len(b) && p.err == nil {
		if len(p.left) == 0 {
			p.next()
		}
		m := copy(b[n:], p.left)
		p.left = p.left[m:]
		n += m
	}
	if n > 0 {
		return n, nil
	}
	return 0, p.err
}

// next steps to the next page.
func (p *pages) next() {
	if p.err = p.ctx.Err(); p.err != nil {
		return
	}
	more, err := p.st.Step()
	switch {
	case err != nil:
		p.err = err
	case !more:
		p.err = io.EOF
	default:
		p.left = p.st.View(0)
	}
	if !p.start && p.err == nil {
		// The page is SQLite's memory; change a copy.
		p.left = append([]byte(nil), p.left...)
		p.left[writeVersion], p.left[readVersion] = rollbackJournal, rollbackJournal
		p.start = true
	}
}

var errPagesClosed = errors.New("sqlite: read of closed pages")

func (p *pages) Close() error {
	if p.err != errPagesClosed {
		p.st.Finalize()
		p.left, p.err = nil, errPagesClosed
	}
	return nil
}
