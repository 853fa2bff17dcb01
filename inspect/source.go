package inspect

import (
	"context"
	"errors"
	"iter"
	"regexp"
	"sync"

	"github.com/driftdb/driftdb-go"
)

// source is where the backups are that a handler shows.
type source interface {
	// names lists the backups.
	names(ctx context.Context) ([]string, error)
	// open returns the backup called name.
	open(ctx context.Context, name string) (target, error)
	// single reports whether there can be one backup only.
	single() bool
}

// target is a backup that a page shows.
type target struct {
	backup *driftdb.Backup
	db     *driftdb.DB // nil: only the backup is here
}

// changes yields the changes that q selects, those that are not sent yet included.
func (t target) changes(ctx context.Context, q driftdb.ChangeQuery) iter.Seq2[driftdb.Change, error] {
	if t.db != nil {
		return t.db.Changes(ctx, q)
	}
	return t.backup.Changes(ctx, q)
}

// oneSource is a source of one backup, whose name the bucket tells.
type oneSource struct {
	target

	mu   sync.Mutex
	name string // "": not known yet
}

func (s *oneSource) single() bool { return true }

func (s *oneSource) names(ctx context.Context) ([]string, error) {
	name, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	return []string{name}, nil
}

// known is the backup's name, which is asked for once.
func (s *oneSource) known(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name == "" {
		info, err := s.backup.Info(ctx)
		if err != nil {
			return "", err
		}
		s.name = info.Name
	}
	return s.name, nil
}

// open accepts any name for a database whose bucket has, or can have, nothing yet: its log
// can be shown all the same.
func (s *oneSource) open(ctx context.Context, name string) (target, error) {
	is, err := s.known(ctx)
	switch {
	case err == nil && is != name:
		return target{}, notFound{errors.New("this inspector shows another backup")}
	case err != nil && (s.db == nil || !errors.Is(err, driftdb.ErrNoStore) && !errors.Is(err, driftdb.ErrNoBackup)):
		return target{}, err
	}
	return s.target, nil
}

// storeSource is a source of all backups in a store.
type storeSource struct {
	cfg driftdb.BackupConfig

	mu   sync.Mutex
	have map[string]*driftdb.Backup // at most maxOpen: each has a client of the store
}

// validName is the library's rule.
var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// maxOpen is how many backups are remembered.
const maxOpen = 256

func newStoreSource(cfg driftdb.BackupConfig) *storeSource {
	return &storeSource{cfg: cfg, have: map[string]*driftdb.Backup{}}
}

func (s *storeSource) single() bool { return false }

func (s *storeSource) names(ctx context.Context) ([]string, error) {
	return driftdb.ListBackups(ctx, s.cfg)
}

func (s *storeSource) open(ctx context.Context, name string) (target, error) {
	s.mu.Lock()
	b := s.have[name]
	s.mu.Unlock()
	if b != nil {
		return target{backup: b}, nil
	}
	if !validName.MatchString(name) || name == "." || name == ".." {
		return target{}, notFound{errors.New("no backup can have such a name")}
	}
	cfg := s.cfg
	cfg.Name = name
	b, err := driftdb.OpenBackup(ctx, cfg)
	if err != nil {
		return target{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.have) >= maxOpen {
		clear(s.have)
	}
	s.have[name] = b
	return target{backup: b}, nil
}
