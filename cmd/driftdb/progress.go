package main

import (
	"sync"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/internal/wrap"
)

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
func (a *app) watchUpload(db *driftdb.DB, sent *wrap.Meter, run func() error) error {
	all := int64(0)
	return a.watch("uploading", func(bar *terminal.Bar) {
		m := db.Metrics()
		all = max(all, m.PendingChanges)
		switch {
		case m.PendingChanges > 0:
			bar.SetIn("changes", "uploading changes", all-m.PendingChanges, all)
		case sent != nil:
			bar.Set("uploading", sent.Bytes.Load(), -1)
		default:
			bar.Set("uploading", m.BytesUploaded, -1)
		}
	}, run)
}
