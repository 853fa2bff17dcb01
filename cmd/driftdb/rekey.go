package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

type rekeyOptions struct {
	place
	leaked bool
	db     string
}

func (a *app) rekeyCommand() *cobra.Command {
	o := new(rekeyOptions)
	c := &cobra.Command{
		Use:   "rekey --store URL --name NAME [--after-leak [--db FILE]]",
		Short: "Re-encrypt a backup with another key",
		Long: `Re-encrypt with the first key everything in a backup that is encrypted with
another key. The contents do not change. To replace a key:

  1. Give every program that opens or restores the database the new key in front
     of the old one (NEW,OLD), and restart it: it encrypts with the new key and
     can still read what the old one encrypted.
  2. Run driftdb rekey with the same two keys. Writers may keep running, but one
     that lacks the new key loses the database when rekey is done.
  3. Run driftdb verify with the new key alone.
  4. Remove the old key from all programs. Anyone who has it can still read old
     copies of the bucket, and old versions of objects that the bucket keeps.

If somebody else may have the old key:

  1. Stop the programs that write to the backup, and change the credentials of
     the store.
  2. Run driftdb rekey --after-leak with the new key in front of the old one. At
     the end it restores the backup with the new key alone. With --db FILE it
     also compares the result with the database itself: until now, anyone who
     had the key and could write to the bucket could have changed anything.
  3. Give the programs the new key alone, and start them. From now on, anything
     encrypted with the old key is ignored, whoever stores it.

The old key still reads older copies and versions of the objects: delete them.
What somebody has already read with it stays known.

A fork uses objects of the databases it came from. Each keeps its own keys: give
the new key to the programs of the forks as well, and let them keep the old one.

rekey verifies each object that the manifest leads to before it re-encrypts it.
It lists the objects that it leaves as they are because the backup does not need
them. An object that is not what the manifest says is an error.

Each object encrypted with another key is read twice and written once. An
interrupted rekey leaves a backup that both keys together can read; run it again
to continue. rekey cannot add encryption to a backup that has none: that is an
error.

With --json the result is {"database", "objects", "changed", "bytes", "left",
"seconds"}: objects is how many are encrypted with the first key now, changed
and bytes cover those that this run re-encrypted, and left names the objects
left as they were, if any.`,
	}
	o.flags(c)
	c.Flags().BoolVar(&o.leaked, "after-leak", false, "somebody else may have the old key")
	c.Flags().StringVar(&o.db, "db", "", "after a leak, compare the backup with the database in `FILE`")
	return a.command(c, func(ctx context.Context, _ []string) error {
		if o.db != "" && !o.leaked {
			return usagef("--db needs --after-leak")
		}
		return a.runRekey(ctx, o)
	}, "store", "name")
}

// rekeyed is the result of a rekey.
type rekeyed struct {
	Database string   `json:"database"`
	Objects  int      `json:"objects"`
	Changed  int      `json:"changed"`
	Bytes    int64    `json:"bytes"`
	Left     []string `json:"left,omitempty"`
	Seconds  float64  `json:"seconds"`
}

func (a *app) runRekey(ctx context.Context, o *rekeyOptions) error {
	began := time.Now()
	cfg, err := a.config(ctx, o.place)
	if err != nil {
		return err
	}
	r, err := a.rekey(ctx, cfg, o.leaked)
	switch {
	case errors.Is(err, driftdb.ErrKey):
		return hinted{err, "pass the new key first and all older ones after it, in DRIFTDB_KEY or with --key-file"}
	case err != nil && exitCode(err) == exitFailed && r.Objects > 0:
		return hinted{err, "run it again with the same keys to continue"}
	case err != nil:
		return err
	}
	for _, key := range r.Left {
		a.stderr.Printf("note: %s keeps another key, or none: the backup does not need it. If it is still there in a few days, inspect it and delete it\n", key)
	}
	if o.leaked {
		if err := a.afterLeak(ctx, cfg, o.db); err != nil {
			return err
		}
	}
	took := time.Since(began)
	return a.report(rekeyed{o.name, r.Objects, r.Changed, r.Bytes, r.Left, seconds(took)},
		"%s has %s under the first key; re-encrypted %s of them (%s) in %.1f s\n",
		o.name, plural(int64(r.Objects), "object", "objects"), count(int64(r.Changed)), size(r.Bytes), took.Seconds())
}

// rekey shows the progress of a rekey.
func (a *app) rekey(ctx context.Context, cfg driftdb.BackupConfig, leaked bool) (driftdb.RekeyResult, error) {
	b, err := driftdb.OpenBackup(ctx, cfg)
	if err != nil {
		return driftdb.RekeyResult{}, err
	}
	run := b.Rekey
	if leaked {
		run = b.RekeyAfterLeak
	}
	bar := a.stderr.Bar("re-encrypting", -1)
	if bar == nil {
		return run(ctx, nil)
	}
	defer bar.Stop()
	info, err := b.Info(ctx)
	if err != nil {
		return driftdb.RekeyResult{}, err
	}
	return run(ctx, func(r driftdb.RekeyResult) {
		bar.SetIn("objects", "re-encrypting", int64(r.Objects), int64(info.Objects))
	})
}

// afterLeak restores with the first key alone, compares the result with the database in
// file, if there is one, and prints what is left to do.
func (a *app) afterLeak(ctx context.Context, cfg driftdb.BackupConfig, file string) (err error) {
	folder, err := os.MkdirTemp("", "driftdb-rekey-") // accessible only to this user
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	cfg.EncryptionKeys = cfg.EncryptionKeys[:1]
	restored := filepath.Join(folder, "restored.db")
	r, err := a.watchRestore(driftdb.RestoreOptions{}, func(o driftdb.RestoreOptions) (driftdb.RestoreResult, error) {
		b, err := driftdb.OpenBackup(ctx, cfg)
		if err != nil {
			return driftdb.RestoreResult{}, err
		}
		return b.Restore(ctx, restored, o)
	})
	if err != nil {
		return fmt.Errorf("with the first key alone: %w", err)
	}
	a.stderr.Printf("the first key alone restores %s up to change %d\n", cfg.Name, r.Sequence)
	if file != "" {
		if err := compareFiles(ctx, cfg.Name, file, restored); err != nil {
			return err
		}
		a.stderr.Printf("%s has the same contents\n", file)
	} else {
		a.stderr.Printf("warning: until now, anyone who had the old key could have changed the backup: compare it with the database itself (--db FILE)\n")
	}
	a.stderr.Printf("warning: the old key still reads older copies of the bucket and old versions of its objects: delete them; what somebody has already read stays known\n")
	a.stderr.Printf("next: remove the old key from every program, change the credentials of the store if somebody else may have them, and start the programs with the new key alone\n")
	return nil
}

// compareFiles fails unless the database of that name in file holds the same rows in the
// same tables as the restored one.
func compareFiles(ctx context.Context, name, file, restored string) error {
	var sums [2]digest
	for i, path := range []string{file, restored} {
		if _, err := os.Stat(path); err != nil {
			return err
		}
		db, err := driftdb.Open(ctx, driftdb.Config{Name: name, Path: path})
		if err != nil {
			return err
		}
		sums[i], err = takeDigest(ctx, db)
		if err = errors.Join(err, db.Close()); err != nil {
			return err
		}
	}
	if sums[0] != sums[1] {
		return hinted{
			fmt.Errorf("%w: %s has %d rows in %d tables, the backup has %d rows in %d tables, and they differ", driftdb.ErrCorrupt,
				file, sums[0].rows, sums[0].tables, sums[1].rows, sums[1].tables),
			"if the file has changes that are not uploaded, upload them (DB.Flush) and compare again; if not, somebody has changed the backup: start a new one from the file, under a new name",
		}
	}
	return nil
}
