package main

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store" // and s3:// URLs
	"github.com/spf13/cobra"
)

// place is the store and name of a database, as the flags give them.
type place struct {
	url, name string
}

func (p *place) flags(c *cobra.Command) {
	p.storeFlag(c)
	c.Flags().StringVar(&p.name, "name", "", "`NAME` of the database in the store")
}

// storeVariable names the store where --store does not.
const storeVariable = "DRIFTDB_STORE"

func (p *place) storeFlag(c *cobra.Command) {
	c.Flags().StringVar(&p.url, "store", "", "`URL` of the store: file:///folder, s3://bucket or s3://bucket/prefix; the default prefix is driftdb (default: DRIFTDB_STORE)")
	p.url = os.Getenv(storeVariable) // no default of the flag: the help would print it, and URLs may hold secrets
}

// validName is the library's rule; here a bad name is a usage error, before
// anything is touched.
var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// config opens the store and returns the library's configuration of the backup.
func (a *app) config(ctx context.Context, p place) (driftdb.BackupConfig, error) {
	if !validName.MatchString(p.name) || p.name == "." || p.name == ".." {
		return driftdb.BackupConfig{}, usagef("--name %q is not a valid database name; use 1 to 128 letters, digits, dots, underscores and hyphens", p.name)
	}
	store, err := openStore(ctx, p.url)
	if err != nil {
		return driftdb.BackupConfig{}, err
	}
	keys, err := a.keys()
	return driftdb.BackupConfig{Name: p.name, Store: store, EncryptionKeys: keys}, err
}

// open opens the backup of a place.
func (a *app) open(ctx context.Context, p place) (*driftdb.Backup, error) {
	cfg, err := a.config(ctx, p)
	if err != nil {
		return nil, err
	}
	return driftdb.OpenBackup(ctx, cfg)
}

// openStore opens the store of a URL. Any fault of the URL is a usage error,
// except a missing folder.
func openStore(ctx context.Context, url string) (objstore.Store, error) {
	store, err := objstore.Open(ctx, url)
	if err != nil && !errors.Is(err, objstore.ErrNoBucket) {
		err = usage(err)
	}
	return store, err
}

// hintElsewhere prints a hint if a bucket that has nothing under the given prefix has a
// database of this name (or any database, if name is empty) under the other common one.
func (a *app) hintElsewhere(ctx context.Context, store objstore.Store, name string) {
	other, at := s3store.Elsewhere(store)
	if other == nil {
		return
	}
	names, err := driftdb.ListBackups(ctx, driftdb.BackupConfig{Store: other})
	if err != nil || len(names) == 0 || name != "" && !slices.Contains(names, name) {
		return
	}
	what := "databases"
	if name != "" {
		what = "a database of this name"
	}
	a.stderr.Printf("hint: the bucket has %s under another prefix: use --store '%s'\n", what, at.URL)
}
