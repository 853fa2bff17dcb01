package inspect_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// showcase is a store as a small shop has it after two weeks, for pictures. The weeks pass
// in a bubble, whose clock is first put forward to two weeks ago.
func showcase(t *testing.T) driftdb.BackupConfig {
	store := objstore.Mem()
	begin := time.Now().Add(-14*24*time.Hour - 2*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(begin))
		s := &shop{t: t, cfg: driftdb.Config{Name: "shop", NodeID: "till-1", Path: filepath.Join(t.TempDir(), "shop.sqlite"), Store: store, ManualSync: true, SnapshotEvery: 300, OnEvent: func(driftdb.Event) {}}}
		s.open()
		s.exec(`CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT);
			CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers, status TEXT, total REAL, note TEXT)`)
		for day := range 14 {
			s.day(day)
		}
		s.exec("UPDATE orders SET status = 'sent'") // and the WHERE was forgotten
		s.flush()
		time.Sleep(20 * time.Minute)
		s.sell(3)
		s.exec("UPDATE orders SET note = 'Please ring at the back door, not at the front door' WHERE id = 7")
		s.exec("UPDATE orders SET note = 'Please ring at the side door, not at the front door', total = total + 4.9 WHERE id = 7")
		s.flush()
		check(t, s.db.Close())
		for _, name := range []string{"journal", "kiosk-12", "kiosk-7"} {
			small(t, store, name)
		}
	})
	return driftdb.BackupConfig{Store: store}
}

type shop struct {
	t    *testing.T
	cfg  driftdb.Config
	db   *driftdb.DB
	sold int
}

func (s *shop) open() {
	var err error
	s.db, err = driftdb.Open(s.t.Context(), s.cfg)
	check(s.t, err)
}

func (s *shop) exec(query string, args ...any) {
	_, err := s.db.Exec(s.t.Context(), query, args...)
	check(s.t, err)
}

func (s *shop) flush() { check(s.t, s.db.Flush(s.t.Context())) }

// day is a day's work, and what happens on it.
func (s *shop) day(day int) {
	for hour := range 8 {
		time.Sleep(90 * time.Minute)
		s.sell(1 + (day*5+hour*3)%9)
		s.exec("UPDATE orders SET status = 'paid' WHERE status = 'open' AND id % 3 = ?", hour%3)
		if hour%2 == 0 {
			s.exec("UPDATE orders SET status = 'sent' WHERE status = 'paid' AND id % 4 = ?", hour%4)
		}
		s.flush()
	}
	switch day {
	case 5:
		b := s.db.Backup()
		_, err := b.Fork(s.t.Context(), "shop-staging", driftdb.Point{})
		check(s.t, err)
	case 8:
		s.move()
	case 11:
		check(s.t, s.db.Vacuum(s.t.Context()))
		_, err := s.db.Snapshot(s.t.Context())
		check(s.t, err)
	}
	time.Sleep(12*time.Hour - time.Minute)
}

var names = []string{"Ada Byron", "Bob Ross", "Cleo Vega", "Dan Okoro", "Eve Lindqvist", "Fay Moreau", "Gus Petrov", "Hana Sato"}

func (s *shop) sell(n int) {
	for range n {
		s.sold++
		name := names[s.sold%len(names)]
		if s.sold <= len(names) {
			s.exec("INSERT INTO customers(id, name, city) VALUES(?, ?, ?)", s.sold%len(names)+1, name, []string{"Bergen", "Lyon", "Porto"}[s.sold%3])
			continue
		}
		s.exec("INSERT INTO orders(customer, status, total, note) VALUES(?, 'open', ?, ?)", s.sold%len(names)+1, float64(s.sold%90)+9.9, fmt.Sprintf("order for %s", name))
	}
}

// move goes on with the shop on another machine, while the first one does not know.
func (s *shop) move() {
	first := s.db
	s.cfg.NodeID, s.cfg.Path, s.cfg.AutoRestore = "till-2", filepath.Join(s.t.TempDir(), "shop.sqlite"), true
	s.open()
	s.exec("UPDATE orders SET note = 'moved to the new till' WHERE id = 1")
	s.flush()
	_, err := first.Exec(s.t.Context(), "INSERT INTO orders(customer, status, total) VALUES(1, 'open', 12.5), (2, 'open', 7)")
	check(s.t, err)
	if err := first.Flush(s.t.Context()); !errors.Is(err, driftdb.ErrFenced) {
		s.t.Fatalf("the first till: %v", err)
	}
	_ = first.Close() // it is fenced
}

// small stores a backup with a few rows.
func small(t *testing.T, store objstore.Store, name string) {
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: name, Path: filepath.Join(t.TempDir(), "x.sqlite"), Store: store, ManualSync: true})
	check(t, err)
	for i := range 5 {
		_, err := db.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS entries(id INTEGER PRIMARY KEY, text TEXT); INSERT INTO entries(text) VALUES('entry')")
		check(t, err)
		check(t, db.Flush(t.Context()))
		time.Sleep(time.Duration(i) * time.Minute)
	}
	_, err = db.Snapshot(t.Context())
	check(t, err)
	check(t, db.Close())
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
