package main

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestTimeMachine plays docs/TIME-MACHINE.md: each block of SQL is run by a program that has
// the database open, each command by a shell, and what it prints must be what the page says.
func TestTimeMachine(t *testing.T) {
	p := newPage(t, "TIME-MACHINE.md")
	p.mkdir("store")
	p.play(map[string]func(string){"sql": func(script string) { writeShop(t, p.dir, script) }})
	if p.compared != 10 {
		t.Errorf("%d commands were found; the page promises ten", p.compared)
	}
}

// writeShop runs statements on the database and uploads what they change.
func writeShop(t *testing.T, dir, script string) {
	t.Helper()
	store, err := objstore.Dir(filepath.Join(dir, "store"))
	check(t, err)
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "shop", Path: filepath.Join(dir, "shop.sqlite"), Store: store, ManualSync: true})
	check(t, err)
	_, err = db.Exec(t.Context(), script)
	check(t, err)
	check(t, db.Shutdown(context.WithoutCancel(t.Context())))
}
