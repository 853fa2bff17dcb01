// Package driftdb is an embedded database: SQLite in your process, with a backup
// in an object store that follows every commit.
//
// A [DB] is an open database, made by [Open] from a [Config]. A [Repository]
// reads and writes the rows of one table; [Define] makes it from a struct that
// embeds [Base], and [DB.Define] from a [Schema], with [Record] rows. Rows are
// chosen by a [Where], or a [Query] with an order and a limit, and changed by a
// [Set]. A [Tx] is a transaction, of [DB.Tx] or [DB.ReadTx]. A [Conn] is either a
// DB or a Tx, for [Select], which reads the rows of any query. A [Change] is one
// committed change, as [DB.Changes] and [Backup.Changes] yield them. The bucket is an
// [objstore.Store], or described by an [S3Config]. A [Backup] is
// what it holds of a database: [OpenBackup] opens it without the database, and
// [DB.Backup] with it. It is restored, verified, and read change by change; [Restore] and
// [Verify] do one such thing from a [RestoreConfig]. A [Registrar], which
// [Config.OnConnect] gets, gives connections SQL functions written in Go.
//
// # How a write travels
//
// A statement changes rows; SQLite tells capture of each one, and the transaction
// that commits them also commits one row of _driftdb_log that describes them. So
// the log has exactly what was committed, in the order of commits. Each change
// has a sequence number. After [Config.SyncInterval] the engine forces the log to
// disk, puts what is new into a batch of JSON, compresses and perhaps encrypts
// it, and stores it as one object. Now and then it stores a snapshot, and replaces
// the manifest, which says what counts. Changes that the manifest confirms are
// deleted from the log.
//
// # What is captured
//
// Every committed change of the main database, whoever made it: repositories,
// [DB.Exec], the *sql.DB of [DB.SQL] and what is built on it, triggers,
// foreign-key actions, full-text indexes, schema changes. Not captured are
// temporary and attached tables, and what other programs write to the file.
//
// What the log cannot describe, such as VACUUM, becomes a barrier in it, and a
// snapshot follows at once. A restore never crosses a barrier without one.
//
// # What is lost when
//
// A crash of the process loses nothing that was committed. A power failure can
// lose the last commits that were not on disk yet, since synchronous is NORMAL,
// but none that the bucket has. A lost disk loses what was not uploaded: the last
// SyncInterval and the time that the upload takes. [DB.Flush] returns when
// everything committed before it is in the bucket and confirmed. [DB.Close] does
// not wait for the network; [DB.Shutdown] does.
//
// # Several writers
//
// A file has one DB at a time: a second Open is [ErrLocked]. A name in a bucket
// has one writer at a time, too. Whoever opens it last and writes takes over; the
// former writer learns it at its next manifest, stops sending, and refuses writes
// with [ErrFenced]. A file that does not continue what the bucket has is
// [ErrDiverged]. Nothing is overwritten in either case.
//
// # Concurrency
//
// A DB, a Repository and what [DB.SQL] returns may be used by many goroutines; a
// Tx by one at a time. Writes queue for the one writer; those of repositories
// that wait share a commit. Reads have connections of their own, and neither wait for writes nor
// hold them up. Inside the function that is given to [DB.Tx], write through the
// Tx only: another write would wait for that function to end, and is an error.
//
// A context bounds the call that it is given to. One that ends interrupts the
// statement that is running and rolls its transaction back.
//
// # Errors
//
// Compare with errors.Is: [ErrNotFound] (also sql.ErrNoRows), [ErrClosed],
// [ErrReadOnly], [ErrEmptyWhere], [ErrLocked], [ErrNoStore], [ErrNoBackup], [ErrCorrupt],
// [ErrKey], [ErrVersion], [ErrFenced], [ErrDiverged], [ErrFileReplaced]. A constraint that does not
// hold is a [*ConstraintError], a definition or value that does not fit a table is
// a [*SchemaError], and what SQLite itself says is an [*Error]. A bucket that cannot be reached is no error of a write: it is
// retried, logged, and shown by [DB.Metrics].
//
// # Compatibility
//
// Versions follow Semantic Versioning. Before 1.0 a new minor version may change the Go
// API, and CHANGELOG.md says how; a patch version does not. From 1.0 on, what is exported
// stays for as long as the major version.
//
// Data is older than code. A bucket or a file that was written by any released version is
// read by all later ones, from 0.1 on and beyond any change of the API; docs/FORMAT.md
// gives each format a version number. The other way is not promised: an older version
// refuses what it does not know, with [ErrVersion], and leaves it as it is. To go back to an
// older version, restore the backup with the newer one: the file that it makes is plain
// SQLite, and any version begins a backup of its own with it.
//
// Not promised are the texts of errors, events and logs (compare errors with errors.Is and
// errors.As), the tables whose names begin with _driftdb_, when objects are stored and how
// large they are, how fast anything is, and packages below internal.
//
// # Logging
//
// Without [Config.Logger] and [Config.OnEvent], warnings and errors of the background
// go to [slog.Default], and nothing else is logged.
package driftdb
