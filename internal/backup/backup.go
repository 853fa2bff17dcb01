// Package backup knows how to reach a backup, and what can be done with it without the
// database. A Backup has one client of the store, and one retry policy.
package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// ErrNoStore means that no store is configured.
var ErrNoStore = errors.New("there is no store; set S3 or Store in the configuration")

// Config says where a backup is, and how it is read. S3 is a pointer, and Keys only exists
// as a ring, so printing a Config shows no secret.
type Config struct {
	Name string // of the database in the bucket

	S3    *s3store.Config // where the backup is: this
	Store objstore.Store  // or this
	Keys  *seal.Ring      // nil: no encryption
	Retry retry.Policy    // 0: the default; negative retries: none

	Log       event.Log
	OnConnect func(context.Context, *sqlite.Registrar) error // nil: nothing
}

// Connect returns OnConnect bound to ctx, in the form that connections take, or nil.
func (c Config) Connect(ctx context.Context) func(*sqlite.Registrar) error {
	if c.OnConnect == nil {
		return nil
	}
	return func(r *sqlite.Registrar) error { return c.OnConnect(ctx, r) }
}

// Client returns the client of the configured store, or nil if none is configured.
func (c Config) Client(ctx context.Context) (objstore.Store, error) {
	if c.S3 == nil {
		return c.Store, nil
	}
	return s3store.New(ctx, *c.S3)
}

// Retries returns the retry policy with its defaults filled in.
func (c Config) Retries() retry.Policy {
	d := retry.Default()
	return retry.Policy{
		MaxRetries: max(cmp.Or(c.Retry.MaxRetries, d.MaxRetries), 0),
		BaseDelay:  cmp.Or(c.Retry.BaseDelay, d.BaseDelay), MaxDelay: cmp.Or(c.Retry.MaxDelay, d.MaxDelay),
	}
}

// store is Client for a backup without a database, which must have a store.
func (c Config) store(ctx context.Context) (objstore.Store, error) {
	switch {
	case c.S3 == nil && c.Store == nil:
		return nil, ErrNoStore
	case c.S3 != nil && c.Store != nil:
		return nil, errors.New("both S3 and Store are set; choose one")
	case c.Retry.BaseDelay < 0 || c.Retry.MaxDelay < 0:
		return nil, fmt.Errorf("a delay of Retry is negative (%s, %s)", c.Retry.BaseDelay, c.Retry.MaxDelay)
	}
	return c.Client(ctx)
}

func (c Config) retrying(store objstore.Store) objstore.Store {
	return wrap.Retry(wrap.Doubting(store), c.Retries())
}

// Backup is what a bucket holds of a database.
type Backup struct {
	cfg    Config
	bucket *remote.Bucket // nil: there is no store
}

// List lists the names of the databases in the store of cfg.
func List(ctx context.Context, cfg Config) ([]string, error) {
	store, err := cfg.store(ctx)
	if err != nil {
		return nil, err
	}
	return remote.Databases(ctx, cfg.retrying(store))
}

// Open returns the backup that cfg names, without reading anything yet.
func Open(ctx context.Context, cfg Config) (*Backup, error) {
	if err := remote.CheckName("Name", cfg.Name); err != nil {
		return nil, err
	}
	store, err := cfg.store(ctx)
	if err != nil {
		return nil, err
	}
	b := Of(remote.New(cfg.retrying(store), cfg.Name, seal.Options{Ring: cfg.Keys}), cfg)
	b.bucket.ExplainMissing(func(ctx context.Context) string { return elsewhere(ctx, store, cfg.Name) })
	return b, nil
}

// Of returns the backup in bucket, with the name, log and functions of cfg. A nil bucket
// means that there is no store.
func Of(bucket *remote.Bucket, cfg Config) *Backup { return &Backup{cfg: cfg, bucket: bucket} }

// elsewhere returns a hint for a bucket that has no backup under the configured prefix:
// that there is one under the other common prefix, and how to name that prefix. It returns
// "" if there is none.
func elsewhere(ctx context.Context, store objstore.Store, name string) string {
	other, at := s3store.Elsewhere(store)
	if other == nil {
		return ""
	}
	names, err := remote.Databases(ctx, other)
	if err != nil || !slices.Contains(names, name) {
		return ""
	}
	return fmt.Sprintf("the bucket has it under another prefix: use --store '%s', in Go S3Config.Prefix %q", at.URL, at.Prefix)
}

// Locate returns cfg with the backup's name, store, keys, retries and functions, where cfg
// has none of its own.
func (b *Backup) Locate(cfg Config) Config {
	cfg.Name = cmp.Or(cfg.Name, b.cfg.Name)
	if cfg.S3 == nil && cfg.Store == nil {
		cfg.S3, cfg.Store = b.cfg.S3, b.cfg.Store
	}
	if cfg.Keys == nil {
		cfg.Keys = b.cfg.Keys
	}
	cfg.Retry = cmp.Or(cfg.Retry, b.cfg.Retry)
	if cfg.OnConnect == nil {
		cfg.OnConnect = b.cfg.OnConnect
	}
	return cfg
}

// Bucket returns the bucket, or nil if there is no store.
func (b *Backup) Bucket() *remote.Bucket { return b.bucket }

// Config returns the configuration, without the store and its secrets: only the bucket
// has those.
func (b *Backup) Config() Config {
	cfg := b.cfg
	cfg.S3, cfg.Store, cfg.Keys = nil, nil, nil
	return cfg
}

// Name returns the database's name in the bucket.
func (b *Backup) Name() string { return b.cfg.Name }

// Exists reads the manifest once, to find out whether there is a backup that this program
// can read.
func (b *Backup) Exists(ctx context.Context) error {
	if b.bucket == nil {
		return ErrNoStore
	}
	_, err := b.bucket.Existing(ctx)
	return err
}

// Info is what the manifest and a listing tell about a backup.
type Info struct {
	Manifest *remote.Manifest
	Branches []remote.Branch
	Objects  int
	Bytes    int64 // their total size
	Held     remote.HeldFor
}

// Info describes the backup.
func (b *Backup) Info(ctx context.Context) (info Info, err error) {
	if b.bucket == nil {
		return info, ErrNoStore
	}
	m, err := b.bucket.Existing(ctx)
	if err != nil {
		return info, err
	}
	info.Manifest = m.Manifest
	if info.Branches, err = b.bucket.Branches(ctx, m.Manifest); err != nil {
		return info, err
	}
	if info.Objects, info.Bytes, err = b.bucket.Usage(ctx); err != nil {
		return info, err
	}
	info.Held, err = b.bucket.HeldFor(ctx, m.Manifest)
	return info, err
}

// Garbage lists the objects that garbage collection would delete now.
func (b *Backup) Garbage(ctx context.Context, retention time.Duration) ([]remote.Garbage, error) {
	if b.bucket == nil {
		return nil, ErrNoStore
	}
	return b.bucket.Collectable(ctx, retention)
}

// Rekey re-encrypts what is encrypted with older keys.
func (b *Backup) Rekey(ctx context.Context, leaked bool, progress func(remote.Rekeyed)) (remote.Rekeyed, error) {
	if b.bucket == nil {
		return remote.Rekeyed{}, ErrNoStore
	}
	res, err := b.bucket.Rekey(ctx, leaked, progress)
	if len(res.Left) > 0 {
		b.cfg.Log.Warn(event.ObjectsLeft, "objects in the bucket are left under an older key, or none",
			"count", len(res.Left), "first", res.Left[0].Key, "error", res.Left[0].Why)
	}
	if err != nil {
		err = fmt.Errorf("rekey %s: %w", b.cfg.Name, err)
	}
	return res, err
}

// Changes yields the changes of b that q selects, oldest first, each converted by convert.
func Changes[T any](ctx context.Context, b *Backup, q history.Query, convert func(history.Change) T) iter.Seq2[T, error] {
	if b.bucket == nil {
		return func(yield func(T, error) bool) {
			var none T
			yield(none, ErrNoStore)
		}
	}
	return history.Bucket(ctx, b.bucket, q, convert, b.cfg.Log)
}
