package main

import (
	"context"
	"errors"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/spf13/cobra"
)

func (a *app) rekeyCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:   "rekey --store URL --name NAME",
		Short: "Encrypt a backup anew, with another key",
		Long: `Encrypt anew, with the first of the keys, whatever other keys have encrypted of
a backup. The contents stay what they are. To replace a key:

  1. Give every program that opens or restores the database the new key in front
     of the old one (NEW,OLD), and restart it: it goes on with the new key, and
     still reads what the old one has encrypted.
  2. Run driftdb rekey with the same two keys. Writers go on meanwhile, but one
     that lacks the new key loses the database when rekey is done.
  3. Prove with driftdb verify that the new key alone is enough.
  4. Take the old key away from all programs. Whoever has it can still read old
     copies of the bucket, and versions of objects that the bucket keeps.

Every object is read, and written once if that is needed. An interrupted rekey
leaves a backup that both keys together can read; run it again, and it goes on
where it was. A backup without encryption stays without it: that is an error.

With --json the result is {"database", "objects", "changed", "bytes",
"seconds"}: how many objects are encrypted, and how many and how large are those
that this run has encrypted anew.`,
	}
	p.flags(c)
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runRekey(ctx, p) }, "store", "name")
}

// rekeyed is the result of a rekey.
type rekeyed struct {
	Database string  `json:"database"`
	Objects  int     `json:"objects"`
	Changed  int     `json:"changed"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
}

func (a *app) runRekey(ctx context.Context, p place) error {
	began := time.Now()
	cfg, err := a.open(ctx, p)
	if err != nil {
		return err
	}
	bar := a.stderr.Bar("encrypting anew", -1)
	r, err := driftdb.Rekey(ctx, cfg, func(r driftdb.RekeyResult) {
		bar.Set(count(int64(r.Changed))+" of "+plural(int64(r.Objects), "object", "objects")+" encrypted anew", int64(r.Objects), -1)
	})
	bar.Stop()
	switch {
	case errors.Is(err, driftdb.ErrKey):
		return hinted{err, "give the new key first and all older ones after it, in DRIFTDB_KEY or with --key-file"}
	case err != nil && exitCode(err) == exitFailed && r.Objects > 0:
		return hinted{err, "run it again with the same keys: it goes on where it was"}
	case err != nil:
		return err
	}
	took := time.Since(began)
	return a.report(rekeyed{p.name, r.Objects, r.Changed, r.Bytes, seconds(took)},
		"%s has %s under the first key; %s of them, %s, encrypted anew in %.1f s\n",
		p.name, plural(int64(r.Objects), "object", "objects"), count(int64(r.Changed)), size(r.Bytes), took.Seconds())
}
