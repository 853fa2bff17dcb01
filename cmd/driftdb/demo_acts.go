package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// lose deletes the database.
func (d *demo) lose(context.Context, *demoResult) error {
	d.title("Lose")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(d.cfg.Path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d.say("   Deleted the database file, with its -wal and -shm.")
	return nil
}

// restore opens the database again; AutoRestore must rebuild it from the bucket.
func (d *demo) restore(ctx context.Context, r *demoResult) error {
	d.title("Restore")
	began := time.Now()
	return with(ctx, d.cfg, func(db *driftdb.DB) error {
		took := time.Since(began)
		r.Seconds = seconds(took)
		d.say("   Opened it again: it was rebuilt from the bucket in %d ms.", took.Milliseconds())
		after, err := takeDigest(ctx, db)
		if err != nil {
			return err
		}
		r.After, r.Same = after.sum, after.sum == r.Before
		if !r.Same {
			return fmt.Errorf("the restored database differs: %d rows before, %d after", r.Rows, after.rows)
		}
		if err := db.IntegrityCheck(ctx); err != nil {
			return err
		}
		d.good(fmt.Sprintf("Every row is back: %s in %s.", plural(after.rows, "row", "rows"), plural(after.tables, "table", "tables")))
		return nil
	})
}

// mistake makes a mistake, finds it in the log, and undoes it.
func (d *demo) mistake(ctx context.Context, r *demoResult) error {
	d.title("A bad UPDATE")
	return with(ctx, d.cfg, func(db *driftdb.DB) error {
		columns, err := columnsOf(ctx, db, d.table)
		if err != nil {
			return err
		}
		bad := "UPDATE " + d.table + " SET " + quote(columns[0]) + " = 'oops'"
		if d.csv == "" {
			bad = "UPDATE readings SET celsius = 0"
		}
		if _, err := db.Exec(ctx, bad); err != nil {
			return err
		}
		d.say("   %s -- the WHERE is missing", bad)
		shown, tx := 0, int64(0)
		for c, err := range db.Changes(ctx, driftdb.ChangeQuery{Reverse: true}) {
			if err != nil {
				return err
			}
			if tx == 0 {
				tx = c.Tx
				d.say("   The log shows what it did:")
			}
			if c.Tx != tx || shown == 2 {
				break
			}
			shown++
			d.say("     %s", shorten(fmt.Sprintf("%d %s %s%s", c.Sequence, tableOf(c), c.Operation, changeDetails(c)), 75))
		}
		undone, err := db.Undo(ctx, driftdb.Undo{From: tx, To: tx})
		if err != nil {
			return err
		}
		after, err := takeDigest(ctx, db)
		if err != nil {
			return err
		}
		if after.sum != r.Before {
			return errors.New("the undo did not bring back what there was")
		}
		r.Undone = undone.Undone
		d.good(fmt.Sprintf("Undone, and compared: every row is what it was. It had changed %s.", plural(int64(undone.Undone), "row", "rows")))
		return db.Flush(ctx)
	})
}

// writers lets two machines write under one name.
func (d *demo) writers(ctx context.Context, r *demoResult) error {
	d.title("Two writers")
	quiet := d.cfg
	quiet.OnEvent = func(driftdb.Event) {} // of the take-over, which is told here
	other := quiet
	other.Path = filepath.Join(d.dir, "other.sqlite")
	return with(ctx, other, func(b *driftdb.DB) error {
		if _, err := b.Exec(ctx, "CREATE TABLE notes (text TEXT)"); err != nil {
			return err
		}
		if err := b.Flush(ctx); err != nil {
			return err
		}
		d.say("   Machine B restores the backup, and writes. Then machine A writes again.")
		again := quiet
		again.ManualSync = false // so that it begins with what B wrote
		err := with(ctx, again, func(a *driftdb.DB) error {
			if _, err := a.Exec(ctx, "INSERT INTO notes VALUES ('from A')"); err != nil {
				return err
			}
			return a.Flush(ctx)
		})
		if err != nil {
			return err
		}
		if _, err := b.Exec(ctx, "INSERT INTO notes VALUES ('from B')"); err != nil {
			return err
		}
		if err := b.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
			return fmt.Errorf("machine B could write although A had taken over: %w", err)
		}
		backup := b.Backup()
		info, err := backup.Info(ctx)
		if err != nil {
			return err
		}
		if len(info.Branches) != 1 {
			return fmt.Errorf("the backup has %d branches, and should have one", len(info.Branches))
		}
		r.Fenced = true
		d.good("B does not know, and writes: refused, for A has taken over.")
		d.say("   What B wrote is not lost: it is a branch, which driftdb resolve merges.")
		return nil
	})
}

// flip flips a bit of the newest batch of the history.
func (d *demo) flip(ctx context.Context, r *demoResult) error {
	d.title("A flipped bit")
	backup, err := driftdb.OpenBackup(ctx, d.backup())
	if err != nil {
		return err
	}
	info, err := backup.Info(ctx)
	if err != nil {
		return err
	}
	key := ""
	for o, err := range d.store.List(ctx, "databases/demo/nodes/"+info.NodeID+"/logs/", objstore.ListOptions{}) {
		if err != nil {
			return err
		}
		key = o.Key // the last one is the newest
	}
	if key == "" {
		return errors.New("the bucket has no batch of the last writer")
	}
	if err := d.flipBit(key); err != nil {
		return err
	}
	d.say("   One bit of the newest batch in the bucket is flipped.")
	if _, err := driftdb.Verify(ctx, d.verify()); !errors.Is(err, driftdb.ErrCorrupt) {
		return fmt.Errorf("the flipped bit was not noticed: %w", err)
	}
	r.DamageFound = true
	d.good("driftdb verify notices, and no restore hands out a wrong row.")
	if err := d.flipBit(key); err != nil {
		return err
	}
	if _, err := driftdb.Verify(ctx, d.verify()); err != nil {
		return err
	}
	d.say("   Flipped back: the backup is sound again.")
	return nil
}

func (d *demo) flipBit(key string) error {
	path := filepath.Join(d.bucket, filepath.FromSlash(key))
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	content[len(content)/2] ^= 1
	return os.WriteFile(path, content, 0o600)
}

func (d *demo) backup() driftdb.BackupConfig {
	return driftdb.BackupConfig{Name: d.cfg.Name, Store: d.store, EncryptionKeys: d.cfg.EncryptionKeys}
}

func (d *demo) verify() driftdb.RestoreConfig {
	return driftdb.RestoreConfig{Name: d.cfg.Name, Store: d.store, EncryptionKeys: d.cfg.EncryptionKeys}
}

// seal stores a secret, and looks for it in the bucket.
func (d *demo) seal(ctx context.Context, r *demoResult) error {
	d.title("Encryption")
	const secret = "the treasure is under the oak"
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	// A bucket of its own: nobody keeps the key, so commands on the other one would ask for it.
	bucket := filepath.Join(d.dir, "secret-bucket")
	if err := os.Mkdir(bucket, 0o700); err != nil {
		return err
	}
	folder, err := objstore.Dir(bucket)
	if err != nil {
		return err
	}
	store := d.metered(folder)
	cfg := d.cfg
	cfg.Name, cfg.Path, cfg.Store = "secret", filepath.Join(d.dir, "secret.sqlite"), store
	cfg.EncryptionKeys = []string{hex.EncodeToString(key[:])}
	err = with(ctx, cfg, func(db *driftdb.DB) error {
		if _, err := db.Exec(ctx, "CREATE TABLE notes (text TEXT)"); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, "INSERT INTO notes VALUES (?)", secret); err != nil {
			return err
		}
		return db.Flush(ctx)
	})
	if err != nil {
		return err
	}
	d.say("   Another database has a key, and one row: %q.", secret)
	for o, err := range store.List(ctx, "databases/secret/nodes/", objstore.ListOptions{}) {
		if err != nil {
			return err
		}
		content, err := read(ctx, store, o.Key)
		if err != nil {
			return err
		}
		if bytes.Contains(content, []byte(secret)) {
			return fmt.Errorf("%s can be read without the key", o.Key)
		}
		if strings.Contains(o.Key, "/logs/") {
			middle := content[len(content)/2:]
			d.say("   In the bucket it looks like this: % x", middle[:min(12, len(middle))])
		}
	}
	_, err = driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: store})
	if !errors.Is(err, driftdb.ErrKey) {
		return fmt.Errorf("the backup can be opened without its key: %w", err)
	}
	r.Encrypted = true
	d.good("Without the key nobody can read it, not even the names of tables.")
	return nil
}

func read(ctx context.Context, store objstore.Store, key string) (content []byte, err error) {
	body, _, err := store.Get(ctx, key, objstore.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return io.ReadAll(body)
}

// shorten cuts a line that is too long for a terminal.
func shorten(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}
