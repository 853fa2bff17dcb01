package main

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/objstore"
)

// traffic is a store that counts the bytes of the objects which are sent and received.
type traffic struct {
	objstore.Store
	sent, received atomic.Int64
}

// Unwrap returns the store itself, which may be able to do more.
func (t *traffic) Unwrap() objstore.Store { return t.Store }

// Put implements objstore.Store.
func (t *traffic) Put(ctx context.Context, key string, body io.Reader, o objstore.PutOptions) (objstore.Info, error) {
	return t.Store.Put(ctx, key, &countedReader{body, &t.sent}, o)
}

// Get implements objstore.Store.
func (t *traffic) Get(ctx context.Context, key string, o objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	body, info, err := t.Store.Get(ctx, key, o)
	if err != nil {
		return body, info, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&countedReader{body, &t.received}, body}, info, nil
}

// countedReader counts what is read. Many of them may share a counter.
type countedReader struct {
	io.Reader
	n *atomic.Int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// redrawn is how often a bar is drawn whose numbers are asked for.
const redrawn = 200 * time.Millisecond

// watch calls draw while run runs, if there is a terminal.
func (a *app) watch(what string, draw func(*terminal.Bar), run func() error) error {
	bar := a.stderr.Bar(what, -1)
	if bar == nil {
		return run()
	}
	done := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		for {
			select {
			case <-time.After(redrawn):
				draw(bar)
			case <-done:
				return
			}
		}
	})
	err := run()
	close(done)
	drawing.Wait()
	bar.Stop()
	return err
}

// watchUpload shows what run sends of a database: its changes, whose number is known, and
// then whatever else goes to the store. sent may be nil.
func (a *app) watchUpload(db *driftdb.DB, sent *traffic, run func() error) error {
	all := int64(0)
	return a.watch("uploading", func(bar *terminal.Bar) {
		m := db.Metrics()
		all = max(all, m.PendingChanges)
		switch {
		case m.PendingChanges > 0:
			bar.SetIn("changes", "uploading changes", all-m.PendingChanges, all)
		case sent != nil:
			bar.Set("uploading", sent.sent.Load(), -1)
		default:
			bar.Set("uploading", m.BytesUploaded, -1)
		}
	}, run)
}
