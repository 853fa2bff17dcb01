package main

import (
	"strings"
	"testing"
)

// TestDrill plays the disaster drill of docs/OPERATIONS.md.
func TestDrill(t *testing.T) {
	p := newPage(t, "OPERATIONS.md")
	p.mkdir("store")
	writeShop(t, p.dir, `CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT);
		BEGIN; INSERT INTO orders VALUES(1, 'Ada'), (2, 'Bob'), (3, 'Cleo'), (4, 'Dan'); COMMIT`)
	_, drill, _ := strings.Cut(p.text, "\n## A disaster drill\n")
	p.text, _, _ = strings.Cut(drill, "\n## ")
	p.play(nil)
	if p.compared != 4 {
		t.Errorf("%d commands were found", p.compared)
	}
}
