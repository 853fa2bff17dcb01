package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// patient is what the checks have found out so far, for those that come later.
type patient struct {
	cfg     Config
	ring    *seal.Ring
	missing map[need]string // why a need is not met; one that is met is not in it

	sight    *dbfile.Sight
	lockedBy string // who has the file open for writing; empty: nobody
	traces   foreign.Traces
	strange  []string // files beside the database that are not its own

	c     *sqlite.Conn
	id    changelog.Identity
	books changelog.Books
	last  int64 // change

	visit     s3store.Visit
	visited   bool // visit says something about the store
	said      time.Time
	heardFrom time.Time // between these two, by this machine's clock, it was said
	heardTo   time.Time
	dbName    string
	bucket    *remote.Bucket
	left      map[string]bool // keys of objects that a trial may have left in the store
	trialKey  string          // of the object that the rights are tried with
	trialETag string
	stored    remote.Stored
}

func newPatient(cfg Config) (*patient, error) {
	ring, err := seal.ParseKeys(cfg.Keys)
	if err != nil {
		return nil, err
	}
	p := &patient{cfg: cfg, ring: ring, missing: map[need]string{}, left: map[string]bool{}, dbName: cfg.Name}
	noFile := "no file was given"
	if cfg.Path != "" {
		noFile = "there is no database file"
		if p.sight, err = dbfile.See(cfg.Path); err != nil {
			noFile = err.Error()
		}
	}
	if p.sight == nil {
		p.missing[aPlace] = noFile
	}
	for _, n := range []need{aFile, aDatabase, aLog} {
		p.missing[n] = noFile
	}
	for _, n := range []need{aStore, aName, aTrial, aManifest} {
		p.missing[n] = "no store was given"
	}
	return p, nil
}

// lacks returns why a need is not met, or "".
func (p *patient) lacks(n need) string {
	if n != logAndManifest {
		return p.missing[n]
	}
	if why := p.missing[aLog]; why != "" {
		return why
	}
	return p.missing[aManifest]
}

// has meets a need, and lack says why it and others cannot be met.
func (p *patient) has(n need) { delete(p.missing, n) }

func (p *patient) lack(why string, needs ...need) {
	for _, n := range needs {
		p.missing[n] = why
	}
}

// close ends the examination.
func (p *patient) close(ctx context.Context) error {
	var err error
	if p.c != nil {
		err = p.c.Close()
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.Limits.Patience)
	defer stop()
	for _, key := range slices.Sorted(maps.Keys(p.left)) { // the check that deletes it failed, or was not reached
		if derr := p.cfg.Store.Delete(ctx, key); derr != nil {
			err = errors.Join(err, fmt.Errorf("the object %s may be left in the store; delete it: %w", key, derr))
		}
	}
	return err
}

// reached is called when the store has answered.
func (p *patient) reached() {
	p.has(aStore)
	if p.dbName == "" {
		p.lack("the database's name is not known; give it with --name", aName, aTrial, aManifest)
		return
	}
	if err := remote.CheckName("name", p.dbName); err != nil {
		p.lack(err.Error(), aName, aTrial, aManifest)
		return
	}
	p.has(aName)
	p.bucket = remote.New(p.cfg.Store, p.dbName, seal.Options{Ring: p.ring})
	p.lack("no object could be stored to try it with", aTrial)
	p.lack("the manifest was not read", aManifest)
}

// hear notes what the store's clock said between two moments of this machine's.
func (p *patient) hear(said, from, to time.Time) {
	if !said.IsZero() {
		p.said, p.heardFrom, p.heardTo = said, from, to
	}
}
