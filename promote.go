package driftdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/driftdb/driftdb-go/internal/engine"
)

// Promote makes the follower the writer of its database: it ends following, brings the
// file up to the last change in the bucket, also to what no manifest confirms yet, takes
// the database over at once, and opens the file for writing, as Open does. The old writer,
// if it is alive, is fenced: see ErrFenced. Whatever its WaitSynced or Flush has reported
// to be in the bucket, the promoted database has; what it had only in its file, it stores
// as a branch.
//
// cfg is the configuration of the opened database. Name and Path may be left empty, and
// must be the follower's otherwise. The store, EncryptionKeys, Retry and OnConnect are
// those of the Backup if they are left empty. ReadOnly and RefuseTakeover are errors.
//
// Promote uses the disk and the network, until ctx ends, and fails if the store cannot be
// reached. After an error of cfg, the follower goes on following. After any other, it is
// closed, and its file is what it was: a follower, which can be followed or promoted again.
// A crash leaves the file a follower's or, from the moment at which Promote can no longer
// fail, a writer's, which Open opens.
func (f *Follower) Promote(ctx context.Context, cfg Config) (*DB, error) {
	c, err := f.promoted(cfg)
	if err != nil {
		return nil, fail(fmt.Errorf("promote: %w", err))
	}
	if err := f.f.Close(); err != nil {
		return nil, fail(err)
	}
	db, err := engine.Open(ctx, c)
	if err != nil {
		return nil, fail(fmt.Errorf("promote: %w", err))
	}
	return &DB{engine: db}, nil
}

// promoted checks the configuration of the database that the follower becomes.
func (f *Follower) promoted(cfg Config) (engine.Config, error) {
	path := cfg.Path
	cfg.Path = cmp.Or(path, f.path)
	c, err := cfg.engine()
	if err != nil {
		return c, err
	}
	c.Config, c.Promote = f.b.Locate(c.Config), true
	switch {
	case c.Name != f.b.Name():
		return c, fmt.Errorf("Name is %q, and the follower follows %q; leave it empty", c.Name, f.b.Name())
	case path != "" && !sameFile(path, f.path):
		return c, fmt.Errorf("Path is %s, and the follower's file is %s; leave it empty", path, f.path)
	}
	return c, errors.Join(c.Problems()...)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
