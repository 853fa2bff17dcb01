package systemtest

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// Hostile are texts that a careless page would obey, or show wrongly.
var Hostile = []string{
	"<script>document.title='hacked'</script>", `"><img src=x onerror="document.title='hacked'">`, "javascript:document.title='hacked'",
	"{{.Secret}}", "</textarea></style></title><svg onload=document.title='hacked'>", "a\x00b\x1b[31m\x07\r\n\tc", "\u202egnp.exe\u202c \u2066x\u2069 \ufeff\u200b",
	"مرحبا بالعالم", "שלום", "'; DROP TABLE orders; --", "\xff\xfe bytes", "e\u0301\u0301\u0301\u0301", "$(touch /tmp/hacked) `x` 'y'",
}

// HostileTable is the name of a table that has all of Hostile in its rows.
const HostileTable = `<b>"odd'</b> ` + "\u202e" + `$(x)`

// Gallery fills a store with one of everything that a backup can have: an encrypted
// database called shop, with more than 1,000 changes, snapshots, a barrier, a take-over, a
// branch, a fork, an empty neighbour, and rows as hostile as Hostile, one of them of a
// megabyte. It returns how to open the backups.
func Gallery(t testing.TB) driftdb.BackupConfig {
	t.Helper()
	ctx := t.Context()
	cfg := driftdb.Config{
		Name: "shop", Path: filepath.Join(t.TempDir(), "shop.sqlite"), Store: objstore.Mem(), ManualSync: true, SnapshotEvery: 400,
		EncryptionKeys: []string{strings.Repeat("7e", 32)}, NodeID: "till-1",
		OnEvent: func(driftdb.Event) {}, // it is fenced, and has barriers
	}
	first := Open(t, cfg, Ends(driftdb.ErrFenced))
	Exec(t, first, `CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT, status TEXT, total REAL, note BLOB);
		CREATE TABLE events(day TEXT, n INTEGER, what TEXT, PRIMARY KEY(day, n)) WITHOUT ROWID;
		CREATE VIEW unpaid AS SELECT * FROM orders WHERE status = 'open';`)
	Exec(t, first, `INSERT INTO orders(customer, status, total) VALUES('Ada', 'paid', 12.5), ('Bob', 'open', 3), ('Cleo', 'open', 99.9), ('Dan', 'sent', 7)`)
	Check(t, first.Flush(ctx))
	gallery(t, first)
	Exec(t, first, "UPDATE orders SET status = 'sent'")
	for i := range 12 {
		Exec(t, first, `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 80)
			INSERT INTO events SELECT '2026-01-' || printf('%02d', ?), n, 'event ' || n FROM c`, i+1)
		Check(t, first.Flush(ctx))
	}
	Check(t, first.Vacuum(ctx)) // a barrier
	Must(first.Snapshot(ctx))
	backup := Must(driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}))
	Must(backup.Fork(ctx, "shop-trial", driftdb.Point{}))

	other := Elsewhere(t, cfg)
	other.NodeID = "till-2"
	second := Open(t, other)
	Exec(t, second, "UPDATE orders SET status = 'paid', total = total + 1 WHERE id = 2")
	Check(t, second.Flush(ctx))
	Exec(t, first, "INSERT INTO orders(customer, status) VALUES('Eve', 'open'), ('Fay', 'open')")
	if err := first.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("the flush of the one that lost: %v", err)
	}
	Exec(t, second, "DELETE FROM orders WHERE id = 4")
	Check(t, second.Flush(ctx))

	empty := driftdb.Config{Name: "notes", Path: filepath.Join(t.TempDir(), "notes.sqlite"), Store: cfg.Store, ManualSync: true, EncryptionKeys: cfg.EncryptionKeys}
	notes := Open(t, empty)
	Some(t, notes, "notes", 3)
	Check(t, notes.Flush(ctx))
	return driftdb.BackupConfig{Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}
}

// gallery stores what is hostile.
func gallery(t testing.TB, db *driftdb.DB) {
	t.Helper()
	table := `"` + strings.ReplaceAll(HostileTable, `"`, `""`) + `"`
	Exec(t, db, fmt.Sprintf("CREATE TABLE %s(k TEXT PRIMARY KEY, \"<i>col</i>\" TEXT, b BLOB)", table))
	for i, text := range Hostile {
		Exec(t, db, fmt.Sprintf("INSERT INTO %s VALUES(?, ?, ?)", table), text, text, []byte(text))
		Exec(t, db, fmt.Sprintf("UPDATE %s SET \"<i>col</i>\" = ? WHERE k = ?", table), text+"!", text)
		Exec(t, db, "UPDATE orders SET customer = ? WHERE id = ?", text, i%4+1)
	}
	Exec(t, db, "UPDATE orders SET customer = 'Ada' WHERE id = 1")
	Exec(t, db, fmt.Sprintf("INSERT INTO %s VALUES('long', ?, ?)", table), strings.Repeat("<p>long ", 1<<17), make([]byte, 1<<20))
	Exec(t, db, "INSERT INTO orders(id, customer, status, total) VALUES(9223372036854775807, 'Max', 'open', 1e308)")
}
