// Package driftdb is an embedded database: SQLite in your process, backed up
// continuously to an object store.
//
// [Open] opens a [DB] as a [Config] describes. A [Repository] reads and writes the rows
// of one table; [Define] makes one from a struct that embeds [Base], and [DB.Define] from
// a [Schema], with [Record] rows. A [Where] selects rows, or a [Query], which adds an
// order and a limit; a [Set] changes them. [DB.Tx] and [DB.ReadTx] run a function in a
// transaction, a [Tx]. [Select] reads the rows of any query from a [Conn], which is a DB
// or a Tx. [Config.OnConnect] uses a [Registrar] to give connections SQL functions
// written in Go.
//
// The bucket is an [objstore.Store], or an [S3Config] describes it. A [Backup] is what
// the bucket holds of a database: [OpenBackup] opens it without the database, and
// [DB.Backup] returns that of an open one. You can restore and verify it, and read it
// change by change; [Restore] and [Verify] each do one of these from a [RestoreConfig]. A
// [Change] is one committed change; [DB.Changes] and [Backup.Changes] yield those that a
// [ChangeQuery] selects.
//
// # How a write travels
//
// A statement changes rows. SQLite reports each change to capture, and the transaction
// that commits the rows also commits one row of _driftdb_log that describes them. So the
// log holds exactly what was committed, in the order of commits, and each change has a
// sequence number. After [Config.SyncInterval] the engine forces the log to disk, packs
// what is new into a batch of JSON, compresses it, encrypts it if there are keys, and
// stores it as one object. From time to time it stores a snapshot, and replaces the
// manifest, which defines what belongs to the backup. Once the manifest confirms changes,
// they are deleted from the log.
//
// # What is captured
//
// Every committed change to the main database, whatever made it: repositories, [DB.Exec],
// the *sql.DB of [DB.SQL] and everything built on it, triggers, foreign-key actions,
// full-text indexes, schema changes. Temporary and attached tables are not captured, nor
// is what other programs write to the file.
//
// What the log cannot describe, such as VACUUM, becomes a barrier in it, and a snapshot
// follows at once. A restore never crosses a barrier without such a snapshot.
//
// # What is lost when
//
// If the process crashes, no committed change is lost. A power failure can lose the last
// commits that were not on disk yet, since synchronous is NORMAL, but none that the bucket
// has. If the disk is lost, so is what was not uploaded: of a running program the last
// SyncInterval plus the time the upload takes; of a program that was killed, or ended
// without Close, everything since its last upload. [DB.Flush] returns when everything
// committed before it is in the bucket and confirmed. [DB.Close] sends what is pending for
// up to [Config.CloseTimeout]; [DB.Shutdown] sends until its context ends. Either returns
// [ErrUnsent] if something is left, which the next session sends.
//
// # Several writers
//
// Only one DB at a time can have a file open for writing: a second Open returns
// [ErrLocked]. A name in a bucket has one writer at a time, too. Opening and reading the
// database elsewhere leaves the writer alone; the first change takes over. The former
// writer notices when it next replaces the manifest: it stops sending, and refuses writes
// with [ErrFenced]. If a file does not continue the history in the bucket, the error is
// [ErrDiverged]. In neither case is anything overwritten; [Resolve] makes one history of
// the two.
//
// # Concurrency
//
// Many goroutines can use a DB, a Repository and what [DB.SQL] returns; only one at a time
// can use a Tx. Writes queue for the one writing connection, and writes of repositories
// that wait together share a commit. Reads have connections of their own: they never wait
// for writes or hold them up. Inside the function that you give to [DB.Tx], write only
// through the Tx: any other write would wait for that function to end, and is an error.
//
// A context bounds the call that gets it. When the context ends, the running statement is
// interrupted and its transaction rolled back.
//
// # Errors
//
// Compare with errors.Is: [ErrNotFound] (which is also sql.ErrNoRows), [ErrClosed],
// [ErrReadOnly], [ErrEmptyWhere], [ErrLocked], [ErrNoStore], [ErrNoBackup], [ErrCorrupt],
// [ErrKey], [ErrVersion], [ErrFenced], [ErrDiverged], [ErrConflict], [ErrUnsent],
// [ErrRolledBack], [ErrFileReplaced]. A violated constraint is a [*ConstraintError], a
// definition or value that does not fit a table is a [*SchemaError], and SQLite's own
// errors are an [*Error]. If the bucket cannot be reached, writes do not fail: the upload
// is retried, the failure is logged, and [DB.Metrics] shows it.
//
// # Compatibility
//
// Versions follow Semantic Versioning. Before 1.0, a new minor version may change the Go
// API, and CHANGELOG.md says how; a patch version does not. From 1.0 on, what is exported
// stays for the whole major version.
//
// Data outlives code. From 0.1 on, every version reads the buckets and files that any
// earlier released version wrote, even if the API has changed; docs/FORMAT.md gives each
// format a version number. The reverse is not promised: an older version refuses what it
// does not know, with [ErrVersion], and leaves it as it is. To go back to an older version,
// restore the backup with the newer one: the result is plain SQLite, and any version can
// begin a backup of its own with it.
//
// Not promised are the texts of errors, events and logs (compare errors with errors.Is and
// errors.As), the tables whose names begin with _driftdb_, when objects are stored and how
// large they are, how fast anything is, and packages below internal.
//
// # Logging
//
// Without [Config.Logger] and [Config.OnEvent], warnings and errors from the background
// go to [slog.Default], and nothing else is logged.
package driftdb
