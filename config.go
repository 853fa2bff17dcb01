package driftdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// Config says what to open, and how it is kept in step with a bucket. Name and
// Path are needed; everything else has a default, which is what 0 means. A negative
// number turns off what the field bounds or times; where that makes no sense it is an
// error. Open names all that is wrong with a Config at once.
type Config struct {
	// Name of the database in the bucket: 1 to 128 letters, digits, dots,
	// underscores and hyphens. The file remembers it, and is refused under
	// another one.
	Name string

	// Path of the SQLite file; folders on the way are made. A new file has the mode
	// of any new file, less the umask. ":memory:" is a
	// database that lives until Close, in a private folder of the system's
	// temporary directory.
	Path string

	// NodeID names this copy of the database in the bucket. Default: a random
	// one that the file remembers.
	NodeID string

	// S3 is the bucket to sync with. Default: none, nothing leaves the machine.
	S3 *S3Config

	// Store is any other place to sync with, such as objstore.Dir. Only one of
	// S3 and Store may be set.
	Store objstore.Store

	// ManualSync leaves syncing to Flush and StartSync. Beside Open, which does not wait
	// for it, one request looks whether the bucket is ahead of the file: an event and
	// Metrics.Behind tell. Default: syncing runs in the background from Open to Close.
	ManualSync bool

	// ReadOnly opens the file without writing to it, and without a lock against its
	// writer: any number of readers work beside one writer, in this process and in
	// others. Writes, Flush and Snapshot are ErrReadOnly, and nothing is ever sent to
	// the bucket; Changes and Backup may read from it. A missing file is an error. With AutoRestore, Open first fetches a
	// file that is missing, and brings one that is behind up to date unless a writer
	// has it open: for that moment it writes to the file, and locks it. If that fails,
	// a file that is there is opened as it is, with a warning. Close ends all reads but
	// those on connections of SQL that the program still holds: these end when it lets
	// them go.
	ReadOnly bool

	// SyncInterval is how long changes wait to be sent together. Default 5 s; negative is
	// an error: see ManualSync.
	SyncInterval time.Duration

	// CloseTimeout is how long Close sends what is pending. Default 5 s; negative: not
	// at all.
	CloseTimeout time.Duration

	// ManifestInterval is how often the manifest is replaced while changes are
	// sent; Flush does it at once. Default 1 min; negative is an error.
	ManifestInterval time.Duration

	// SnapshotEvery is how many changes have to pass before another snapshot
	// is taken; they must also weigh half as much as the last one. Default 1000;
	// negative: none is taken but by Snapshot, and where the log alone would not restore
	// the database. The bucket then keeps the whole log.
	SnapshotEvery int

	// MaxBatchSize bounds the changes in an uploaded batch. Default: no limit
	// but that of 8 MiB of JSON; negative: the same.
	MaxBatchSize int

	// Compression of what is uploaded. Default CompressionGzip.
	Compression Compression

	// EncryptionKeys encrypt what is uploaded, with AES-256: 64 hex digits
	// each, see [KeysFromEnv]. The first one encrypts, all of them decrypt. Whoever
	// loses them loses the backup. Neither fmt nor a log prints them. Default: no encryption.
	EncryptionKeys []string

	// Retry says how failed requests are repeated.
	Retry RetryPolicy

	// AutoRestore fetches the database from the bucket when the file is
	// missing. When the bucket has nothing either, Open starts a new one.
	AutoRestore bool

	// Retention is how far back every point in time stays restorable. What only
	// older points need is deleted from the bucket, at the earliest a day after
	// the manifest has ceased to name it. How old it is, the store's clock says.
	// Default 30 days; negative: nothing is ever deleted but batches that have been
	// merged.
	Retention time.Duration

	// MaxLogBytes bounds the log that has not been sent. One that outgrows it,
	// because the bucket cannot be reached or there is none, is given up: a
	// barrier takes its place, and a snapshot follows when that is possible.
	// That is history lost, and no data. Default: 256 MiB, or twice the size of
	// the database if that is more. Negative: no limit.
	MaxLogBytes int64

	// RefuseTakeover leaves the database to another node that writes it: Open fails with
	// ErrLocked, or, if the bucket did not answer then, the first upload does, and writes
	// from then on. A node that has closed the database and sent everything writes it no
	// more. One is known by its NodeID: set that to let a new disk of the same node go
	// on. Default: the first change of this session takes the database over. The other
	// node is told when it next writes to the bucket: its writes fail with ErrFenced,
	// and what it had not sent is kept as a branch.
	RefuseTakeover bool

	// LockWait is how long Open waits for another process that has the file, and with
	// RefuseTakeover for another node that writes the database. Default 0, and negative: not
	// at all, it fails with ErrLocked at once.
	LockWait time.Duration

	// AdvisoryFencing uses a store that does not honour conditional writes, on
	// which the protection from a second writer rests. Two writers at once
	// can then overwrite each other's data. Default: such a store is refused.
	AdvisoryFencing bool

	// BusyTimeout is how long a statement waits for a lock that another
	// process or a transaction of db.SQL() holds. Default 10 s; negative: not at all.
	BusyTimeout time.Duration

	// CacheBytes is how many bytes of pages all connections of the database keep in
	// memory together: those that read, the one that writes, and those of SQL. The page
	// that none of them has used for the longest time makes room for another, so a
	// connection that reads alone has nearly all of it. Only pages in use at the moment
	// can exceed it; a transaction that changes more writes some of them early. Besides,
	// a connection takes some 400 KiB, a sort up to an eighth of CacheBytes, and a
	// restore or Verify 48 MiB of its own. PRAGMA cache_size sets the memory of a sort
	// only. Where the program has registered another page cache with the driver, each
	// connection has up to an eighth of CacheBytes. From 1 MiB to 1 TiB; anything else,
	// such as a negative number, is an error. Default 64 MiB.
	CacheBytes int64

	// MaxReaders is how many connections read at the same time for repositories,
	// Select, ReadTx and Changes. When all are busy, the next read waits until one is
	// free or its context ends. A loop over rows and a ReadTx keep their connection to
	// the end, and a read of the database inside of one takes a second: set MaxReaders
	// above the number of such loops that run at once, or they wait for each other.
	// Connections of SQL are not counted; SQL().SetMaxOpenConns bounds them. Up to 8 idle
	// ones (or as many as there are processors) are kept, for a minute. From 1 to 10,000.
	// Default, and negative: no limit.
	MaxReaders int

	// OnConnect registers the SQL functions, collations and virtual-table modules
	// that the program's statements and its schema need. It is called for each
	// connection that DriftDB opens: its own, those of SQL, and those that restore
	// and check, also at the same time. What is registered belongs to that
	// connection only. An error fails Open, or whatever needs the connection. ctx
	// has the values of Open's context, and does not end.
	OnConnect func(ctx context.Context, r *Registrar) error

	// Logger gets what happens in the background, with the attributes scope and kind: see
	// EventKind. Default: without OnEvent too,
	// warnings and errors go to slog.Default(), the same one at most once a minute.
	// slog.New(slog.DiscardHandler) silences them.
	Logger *slog.Logger

	// OnEvent is called for the same events, one at a time, where they happen.
	// There, and in a Logger's handler, the database can be read and written;
	// Close, Shutdown, Flush, Snapshot and CollectGarbage would wait for what
	// happens there, and are errors: call them on another goroutine, and do not
	// wait for that.
	OnEvent func(Event)
}

// S3Config names a bucket of Amazon S3 or of a service with its protocol.
type S3Config struct {
	Bucket string // must exist
	Region string // default: the environment's or the AWS profile's; us-east-1 with an Endpoint
	Prefix string // put before every key. Default "driftdb"; "/" is the root of the bucket

	// AccessKeyID, SecretAccessKey and, for temporary credentials,
	// SessionToken. Default: the AWS chain of environment, profile, web
	// identity, container and instance role, which is asked again when the
	// service says that its credentials have expired or are not known. Keys
	// given here stay as they are.
	AccessKeyID, SecretAccessKey, SessionToken string

	Endpoint       string // URL of another service than Amazon's
	ForcePathStyle *bool  // the bucket in the path, not in the host name. Default true with an Endpoint

	// ServerSideEncryption is how the service encrypts what it stores:
	// "AES256", "aws:kms" or "aws:kms:dsse". Default: as the bucket is set up.
	// Set it if the bucket's policy refuses objects that do not ask for it.
	// For encryption before anything leaves the machine, see EncryptionKeys.
	ServerSideEncryption string
	// KMSKeyID is the id, alias or ARN of the KMS key; it needs one of the two
	// aws:kms. Default: the bucket's key, or AWS's own for S3.
	KMSKeyID string
	// StorageClass of what is stored, such as "INTELLIGENT_TIERING". Default:
	// the service's, STANDARD for Amazon. GLACIER and DEEP_ARCHIVE are
	// refused: what they hold cannot be read at once. Neither can what the
	// bucket's own rules move to an archive.
	StorageClass string
	// DisableChecksums sends and asks for no CRC-32, for services that do not
	// know the header. Default false. Damage on the way is then found only when
	// an object is read, by the hashes in batches and manifest.
	DisableChecksums bool
}

// RetryPolicy says how often a failed request is repeated, and how long to
// wait before: BaseDelay, doubled each time, up to MaxDelay, less some jitter.
// What still fails waits for the next interval. The zero value is 5 retries
// from 500 ms to 30 s.
type RetryPolicy struct {
	MaxRetries          int           // negative: no retries
	BaseDelay, MaxDelay time.Duration // negative is an error
}

// Compression says how uploads are compressed.
type Compression int

// The kinds of compression.
const (
	CompressionGzip Compression = iota // a gzip stream, readable with gunzip
	CompressionNone                    // as it is
)

const (
	defaultSyncInterval     = 5 * time.Second
	defaultCloseTimeout     = 5 * time.Second
	defaultManifestInterval = time.Minute
	defaultSnapshotEvery    = 1000
	defaultBusyTimeout      = 10 * time.Second
	defaultRetention        = 30 * 24 * time.Hour
	defaultCacheBytes       = 64 << 20
	batchBytes              = 8 << 20
)

// normalize checks c and fills in the defaults. Its error has a line for each problem.
func (c Config) normalize() (Config, error) {
	if err := c.check(); err != nil {
		return c, err
	}
	defaulted(&c.SyncInterval, defaultSyncInterval)
	defaulted(&c.CloseTimeout, defaultCloseTimeout)
	defaulted(&c.ManifestInterval, defaultManifestInterval)
	defaulted(&c.SnapshotEvery, defaultSnapshotEvery)
	defaulted(&c.Retry.MaxRetries, retry.Default().MaxRetries)
	defaulted(&c.Retry.BaseDelay, retry.Default().BaseDelay)
	defaulted(&c.Retry.MaxDelay, retry.Default().MaxDelay)
	defaulted(&c.Retention, defaultRetention)
	defaulted(&c.BusyTimeout, defaultBusyTimeout)
	defaulted(&c.CacheBytes, defaultCacheBytes)
	c.MaxBatchSize, c.MaxReaders, c.LockWait = max(c.MaxBatchSize, 0), max(c.MaxReaders, 0), max(c.LockWait, 0)
	c.Logger = eventLogger(c.Logger, c.OnEvent, c.Name)
	return c, nil
}

// defaulted gives a field that is not set its default.
func defaulted[T comparable](field *T, instead T) {
	var unset T
	if *field == unset {
		*field = instead
	}
}

// check finds all that is wrong with c. A line names the field, and what it may be.
func (c Config) check() error {
	var p problems
	p = append(p, remote.CheckName("Name", c.Name))
	if c.NodeID != "" {
		p = append(p, remote.CheckName("NodeID", c.NodeID))
	}
	p.when(c.Path == "", `Path is empty; give a file, or ":memory:"`)
	p.when(c.ReadOnly && c.Path == memory, "ReadOnly needs a Path that is a file: a database in memory begins empty")
	c.checkStore(&p)
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
	p.when(c.CacheBytes != 0 && (c.CacheBytes < 1<<20 || c.CacheBytes > 1<<40),
		"CacheBytes is %d; it is in bytes, from 1 MiB (1 << 20) to 1 TiB (1 << 40), or 0 for 64 MiB", c.CacheBytes)
	p.when(c.MaxReaders > 10_000, "MaxReaders is %d; give 1 to 10000, or 0 for as many as are asked for", c.MaxReaders)
	return errors.Join(p...)
}

// problems are what is wrong with a configuration.
type problems []error

// when notes a problem if it is there.
func (p *problems) when(is bool, format string, args ...any) {
	if is {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

// checkStore finds what is wrong with the place to sync with, and what goes there.
func (c Config) checkStore(p *problems) {
	none := c.S3 == nil && c.Store == nil
	if c.S3 != nil {
		for _, problem := range c.S3.bucket().Problems() {
			p.when(true, "S3.%w", problem)
		}
	}
	p.when(c.S3 != nil && c.Store != nil, "both S3 and Store are set; choose one")
	p.when(none && c.AutoRestore, "AutoRestore needs S3 or Store")
	p.when(none && len(c.EncryptionKeys) > 0,
		"EncryptionKeys need S3 or Store: they encrypt what is uploaded, the local file is never encrypted")
	_, err := seal.ParseKeys(c.EncryptionKeys)
	p.when(err != nil, "EncryptionKeys: %w", err)
	p.when(c.Compression != CompressionGzip && c.Compression != CompressionNone,
		"Compression is %d; give CompressionGzip or CompressionNone", c.Compression)
	p.when(c.RefuseTakeover && c.AdvisoryFencing, "RefuseTakeover cannot be kept with AdvisoryFencing; choose one")
}

func (p RetryPolicy) policy() retry.Policy {
	d := retry.Default()
	return retry.Policy{
		MaxRetries: max(cmp.Or(p.MaxRetries, d.MaxRetries), 0), BaseDelay: cmp.Or(p.BaseDelay, d.BaseDelay), MaxDelay: cmp.Or(p.MaxDelay, d.MaxDelay),
	}
}

// openStore makes the store that a configuration names, or nil.
func openStore(ctx context.Context, s3 *S3Config, store objstore.Store) (objstore.Store, error) {
	if s3 == nil {
		return store, nil
	}
	return s3store.New(ctx, s3.bucket())
}

// bucket is the configuration of the store.
func (c S3Config) bucket() s3store.Config {
	return s3store.Config{
		Bucket: c.Bucket, Region: c.Region, Prefix: c.Prefix,
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Endpoint: c.Endpoint, ForcePathStyle: c.ForcePathStyle,
		ServerSideEncryption: c.ServerSideEncryption, KMSKeyID: c.KMSKeyID, StorageClass: c.StorageClass,
		DisableChecksums: c.DisableChecksums,
	}
}

// sealing says how objects are sealed.
func sealing(c Compression, keys []string) (seal.Options, error) {
	ring, err := seal.ParseKeys(keys)
	opts := seal.Options{Ring: ring}
	if c == CompressionNone {
		opts.Compression = seal.None
	}
	return opts, err
}
