package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/heartbeat"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/seal"
)

// Memory is the Path of a database that is not kept.
const Memory = ":memory:"

// Config says what to open. Its fields, and those of the embedded Config, mean the same as
// the fields of those names in the root package's Config; a zero value means the default.
type Config struct {
	backup.Config // the bucket, the database's name in it, and the receiver of events

	Path, NodeID string

	Compression     seal.Compression
	AdvisoryFencing bool

	ManualSync, ReadOnly, AutoRestore, RefuseTakeover bool

	// Promote opens the file of a follower, which then is none any more. The session takes
	// the database over before Open returns, and an error leaves the file a follower's.
	Promote bool

	// Woken says of a database that only reads that DB.Wake is called after each commit to
	// its file. It is not an option of the root package.
	Woken bool

	SyncInterval, SyncGap, CloseTimeout, ManifestInterval time.Duration

	SnapshotEvery, MaxBatchSize int

	Retention   time.Duration
	MaxLogBytes int64

	LockWait, BusyTimeout time.Duration

	CacheBytes int64
	MaxReaders int

	Heartbeat *heartbeat.Target // of the root package's HeartbeatURL; nil: none

	// Public converts an error to its public form. It is for errors that reach users other
	// than as the result of a call to this package: through database/sql, or stored.
	Public func(error) error
}

// DefaultRetention is how long everything in a bucket is kept.
const DefaultRetention = 30 * 24 * time.Hour

// maxSyncGap bounds how long a caller of WaitSynced waits for others to share an upload.
const maxSyncGap = time.Minute

const (
	defaultSyncInterval     = 5 * time.Second
	defaultSyncGap          = 100 * time.Millisecond
	defaultCloseTimeout     = 5 * time.Second
	defaultManifestInterval = time.Minute
	defaultSnapshotEvery    = 1000
	defaultBusyTimeout      = 10 * time.Second
	defaultCacheBytes       = 64 << 20
	batchBytes              = 8 << 20
)

// normalize checks c and fills in the defaults. Its error has one line for each problem.
func (c Config) normalize() (Config, error) {
	if err := errors.Join(c.Problems()...); err != nil {
		return c, err
	}
	return c.withDefaults(), nil
}

// withDefaults fills in the defaults.
func (c Config) withDefaults() Config {
	defaulted(&c.SyncInterval, defaultSyncInterval)
	defaulted(&c.SyncGap, defaultSyncGap)
	defaulted(&c.CloseTimeout, defaultCloseTimeout)
	defaulted(&c.ManifestInterval, defaultManifestInterval)
	defaulted(&c.SnapshotEvery, defaultSnapshotEvery)
	defaulted(&c.Retention, DefaultRetention)
	defaulted(&c.BusyTimeout, defaultBusyTimeout)
	defaulted(&c.CacheBytes, defaultCacheBytes)
	c.MaxBatchSize, c.MaxReaders, c.LockWait = max(c.MaxBatchSize, 0), max(c.MaxReaders, 0), max(c.LockWait, 0)
	return c
}

// defaulted sets a field that is unset to its default.
func defaulted[T comparable](field *T, instead T) {
	var unset T
	if *field == unset {
		*field = instead
	}
}

// Problems returns everything that is wrong with c, and the problems already known about
// what goes to the store. Each line names the field and its valid values.
func (c Config) Problems(known ...error) []error {
	var p problems
	p = append(p, remote.CheckName("Name", c.Name))
	if c.NodeID != "" {
		p = append(p, remote.CheckName("NodeID", c.NodeID))
	}
	p.when(c.Path == "", `Path is empty; give a file, or ":memory:"`)
	p.when(c.ReadOnly && c.Path == Memory, "ReadOnly needs a Path that is a file: a database in memory begins empty")
	c.checkStore(&p)
	p = append(p, known...)
	for _, d := range []struct {
		name  string
		value time.Duration
		of    time.Duration // its default
		more  string
	}{
		{"SyncInterval", c.SyncInterval, defaultSyncInterval, "; ManualSync turns syncing off"},
		{"ManifestInterval", c.ManifestInterval, defaultManifestInterval, ""},
		{"Retry.BaseDelay", c.Retry.BaseDelay, retry.Default().BaseDelay, "; a negative Retry.MaxRetries turns retries off"},
		{"Retry.MaxDelay", c.Retry.MaxDelay, retry.Default().MaxDelay, ""},
	} {
		p.when(d.value < 0, "%s is negative (%s); give a duration, or 0 for %s%s", d.name, d.value, d.of, d.more)
	}
	p.when(c.SyncGap > maxSyncGap, "SyncGap is %s; give a duration up to %s, 0 for %s, or a negative one for no gap", c.SyncGap, maxSyncGap, defaultSyncGap)
	p.when(c.CacheBytes != 0 && (c.CacheBytes < 1<<20 || c.CacheBytes > 1<<40),
		"CacheBytes is %d; it is in bytes, from 1 MiB (1 << 20) to 1 TiB (1 << 40), or 0 for 64 MiB", c.CacheBytes)
	p.when(c.Promote && c.RefuseTakeover, "RefuseTakeover cannot be kept: to promote a follower takes the database over; unset it")
	p.when(c.Promote && c.S3 == nil && c.Store == nil, "a follower cannot be promoted without S3 or Store")
	p.when(c.Promote && c.ReadOnly, "ReadOnly cannot be kept: a follower is promoted to be written to; unset it, or keep following")
	p.when(c.MaxReaders > 10_000, "MaxReaders is %d; give 1 to 10000, or 0 for as many as are asked for", c.MaxReaders)
	return p
}

// problems are what is wrong with a configuration.
type problems []error

// when adds a problem if the condition is true.
func (p *problems) when(is bool, format string, args ...any) {
	if is {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

// checkStore checks the store to sync with, and what goes there.
func (c Config) checkStore(p *problems) {
	none := c.S3 == nil && c.Store == nil
	if c.S3 != nil {
		for _, problem := range c.S3.Problems() {
			p.when(true, "S3.%w", problem)
		}
	}
	p.when(c.S3 != nil && c.Store != nil, "both S3 and Store are set; choose one")
	p.when(none && c.AutoRestore, "AutoRestore needs S3 or Store")
	p.when(none && c.Keys != nil, "EncryptionKeys need S3 or Store: they encrypt what is uploaded, the local file is never encrypted")
	p.when(none && c.Heartbeat != nil, "HeartbeatURL needs S3 or Store: it is told that a bucket has the changes")
	p.when(c.ReadOnly && c.Heartbeat != nil, "HeartbeatURL cannot be kept with ReadOnly: what only reads confirms nothing; set it where the writer is opened")
	p.when(c.RefuseTakeover && c.AdvisoryFencing, "RefuseTakeover cannot be kept with AdvisoryFencing; choose one")
}
