package main

import (
	"context"
	"errors"
	"regexp"
	"slices"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store" // and s3:// URLs
	"github.com/spf13/cobra"
)

// place is where a database is kept, as flags say it.
type place struct {
	url, name string
}

func (p *place) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.url, "store", "", "`URL` of the store, file:///folder or s3://bucket; s3://bucket/prefix if the prefix is not driftdb")
	c.Flags().StringVar(&p.name, "name", "", "`NAME` of the database in the store")
}

// validName is the library's rule; here a bad name is wrong usage, before
// anything is touched.
var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// config makes the store and says, for the library's calls, where the backup is.
func (a *app) config(ctx context.Context, p place) (driftdb.BackupConfig, error) {
	if !validName.MatchString(p.name) || p.name == "." || p.name == ".." {
		return driftdb.BackupConfig{}, usagef("--name %q is no database name; use 1 to 128 letters, digits, dots, underscores and hyphens", p.name)
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

// openStore makes the store of a URL. Whatever is wrong with it is wrong
// usage, but for a folder that is not there.
func openStore(ctx context.Context, url string) (objstore.Store, error) {
	store, err := objstore.Open(ctx, url)
	if err != nil && !errors.Is(err, objstore.ErrNoBucket) {
		err = usage(err)
	}
	return store, err
}

// hintElsewhere says if a bucket that has nothing under the prefix that was asked has a
// database of this name under the other common one; any database, for no name.
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
