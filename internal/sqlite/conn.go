// Package sqlite wraps the SQLite driver: connections and their pragmas, prepared statements
// without database/sql, result codes, and page-consistent copies.
//
// A database file is only ever opened through SQLite. Opening and closing it (or its -wal and
// -shm files) in any other way drops the locks that SQLite holds on behalf of the whole
// process.
package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/pagecache"
	"github.com/driftdb/driftdb-go/internal/vfs"
	"modernc.org/libc"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
	"modernc.org/sqlite/vtab"
)

// minVersion is the first release without the WAL-reset bug, which could
// corrupt a database whose writer and checkpointer raced.
const minVersion = 3051003

// Synchronous is what a commit waits for.
type Synchronous string

// The levels of PRAGMA synchronous.
const (
	SyncOff    Synchronous = "OFF"    // nothing: for files that can be recreated
	SyncNormal Synchronous = "NORMAL" // the file stays consistent; a power loss may lose the last commits
	SyncFull   Synchronous = "FULL"   // the commit is on disk
)

// Options of a connection. The zero value is a plain read-write connection.
type Options struct {
	Synchronous Synchronous   // default SyncNormal
	BusyTimeout time.Duration // default 5 s: how long to wait for another connection's lock
	CacheKiB    int           // PRAGMA cache_size in KiB, for pages and for a sort's memory; default SQLite's own (2 MiB)
	ForeignKeys bool          // enforce foreign keys
	QueryOnly   bool          // refuse all changes
	MustExist   bool          // do not create the file
	ReadOnly    bool          // open the file read-only; no PRAGMA can change that later
	Exclusive   bool          // lock the file while the connection is open; SQLITE_BUSY if anyone else uses it
	Immutable   bool          // read only the file, as if it could not change: no locks, no WAL, no journal
	KeepJournal bool          // keep the journal mode; default is to switch to WAL
	Distrust    bool          // the schema is untrusted: it can reach only the database and what OnConnect registers
	Ledger      *Ledger       // counts the connection's commits; default none

	// Cache is the page budget that this connection shares with others; CacheKiB then applies
	// to sorts only. By default the connection has CacheKiB to itself. The same holds if the
	// program has configured a page cache other than DriftDB's.
	Cache *pagecache.Budget

	// Claim is called before anything is read; if it returns an error, Open fails. By then the
	// file is open, and has been created if it was missing and MustExist is not set.
	Claim func(*Conn) error

	// OnConnect is called before the connection is opened; if it returns an error, Open fails.
	OnConnect func(*Registrar) error

	Checkpointer *Checkpointer // runs the checkpoints; default: the commit that leaves 1000 pages or more in the WAL does
}

// Driver opens connections. The zero value opens plain ones.
type Driver struct {
	mu      sync.Mutex
	drv     sqlite.Driver
	modules []module
	more    map[module]*Driver // the same driver with one more module
}

// plain opens connections that have only what their OnConnect adds.
var plain Driver

// Open opens the database at path, as [Driver.Open] does.
func Open(path string, opts Options) (*Conn, error) { return plain.Open(path, opts) }

// RegisterModule gives every later connection of this driver the virtual table
// module m.
func (d *Driver) RegisterModule(name string, m vtab.Module) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.drv.RegisterModule(name, m); err != nil {
		return err
	}
	d.modules = append(d.modules, module{name, m})
	return nil
}

// driverConn is the part of the driver's own connection that we use.
type driverConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.SessionResetter
	driver.Validator
	driver.Pinger
	sqlite.HookRegisterer
	sqlite.FileControl
	sqlite.DBStatus
}

// DriverConn is the driver's own connection, for database/sql; its errors are *Error.
type DriverConn = driverConn

// DriverRows is the full interface of the driver's rows.
type DriverRows interface {
	driver.Rows
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeLength
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

// errRowsShape means that the driver's rows do not implement DriverRows.
var errRowsShape = errors.New("this version of modernc.org/sqlite has other rows; build with the version that DriftDB's go.mod names")

// Named returns args with their ordinals, the form that database/sql passes to newer methods.
func Named(args []driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, v := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return out
}

// Conn is one connection to a database. Only Interrupt may be called while another method
// runs: SQLite's own mutex, which would make other callers wait, is off, and libc's TLS never
// had one. A connection that is lent to a program's own code has one user at a time because
// each use locks its [Loan]. Any other connection belongs to one goroutine, or to a lock held
// by its owner. Every call writes to the TLS, which is Go memory, so the race detector sees
// two concurrent users.
type Conn struct {
	Driver DriverConn // statements with database/sql's semantics
	TLS    *libc.TLS  // the first argument of SQLite's functions
	DB     uintptr    // the sqlite3*

	mutex uintptr // SQLite's own, which is switched off
	cells uintptr // two pointers of C memory, for out parameters
	cache map[string]*Stmt

	onConnect func(*Registrar) error // from its Options

	keeps  bool   // a transaction stays open for the next read; see freshen
	keptIn uint64 // the term in which it began

	checkpointer *Checkpointer
	holds        bool // whether c holds the checkpointer back

	cause error // see FailedBy

	guard *guard // see Guard; or nil

	ledger  *Ledger
	before  commit // the last commit before one of ours …
	counted bool   // … which the ledger expects

	closing sync.Mutex // Interrupt against Close
	closed  bool
}

// Open opens the database at path. It creates the file unless opts say otherwise, switches it
// to WAL and applies the pragmas.
func (d *Driver) Open(path string, opts Options) (*Conn, error) {
	if v := lib.SQLITE_VERSION_NUMBER; v < minVersion {
		return nil, fmt.Errorf("sqlite: SQLite %s can corrupt a WAL database; 3.51.3 or later is needed", lib.SQLITE_VERSION)
	}
	var registrar Registrar
	if opts.OnConnect != nil {
		if err := opts.OnConnect(&registrar); err != nil {
			return nil, fmt.Errorf("open %s: OnConnect: %w", path, err)
		}
	}
	d, err := d.having(registrar.modules)
	if err != nil {
		return nil, fmt.Errorf("open %s: OnConnect: %w", path, err)
	}
	name, err := dsn(path, opts)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	dc, err := d.drv.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, answers{}.of(err))
	}
	full, ok := dc.(driverConn)
	if !ok {
		return nil, errors.Join(errDriverShape, dc.Close())
	}
	tls, db, err := handleOf(dc)
	if err == nil {
		err = provePrivate()
	}
	if err != nil {
		return nil, errors.Join(err, dc.Close())
	}
	c := &Conn{Driver: answeringConn{full, answers{tls}}, TLS: tls, DB: db, cache: map[string]*Stmt{}, ledger: opts.Ledger, onConnect: opts.OnConnect}
	c.dropMutex()
	c.cells = libc.Xcalloc(tls, 2, 8)
	c.waitInterruptibly()
	err = c.equip(&registrar, opts)
	if c.ledger != nil {
		c.hook()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), c.Close())
	}
	return c, nil
}

// equip gives a connection what it needs before its first statement, then calls begin.
func (c *Conn) equip(r *Registrar, opts Options) error {
	if opts.Distrust {
		if err := c.distrust(); err != nil {
			return err
		}
	}
	if err := r.install(c, opts.Distrust); err != nil {
		return fmt.Errorf("OnConnect: %w", err)
	}
	return c.begin(opts)
}

// OnConnect returns the OnConnect option that c was opened with, so that another connection
// can be set up the same way.
func (c *Conn) OnConnect() func(*Registrar) error { return c.onConnect }

// check reads one value through our own statements. A driver whose internals are not what we
// expect fails here, before anything depends on them.
func (c *Conn) check() error {
	n, err := c.Int("SELECT 20260101 + length(x'00ff00')")
	if err != nil {
		return err
	}
	if n != 20260104 {
		return errDriverShape
	}
	return nil
}

// begin makes an open connection usable.
func (c *Conn) begin(opts Options) error {
	if opts.Cache != nil {
		opts.Cache.Adopt(c.TLS)
	}
	if opts.Claim != nil {
		if err := opts.Claim(c); err != nil {
			return err
		}
	}
	if err := c.check(); err != nil {
		return err
	}
	if err := c.Exec(opts.pragmas()); err != nil {
		return err
	}
	if opts.Checkpointer != nil {
		return opts.Checkpointer.watch(c)
	}
	return nil
}

// Reconfigure gives an idle plain connection other options. It is for a connection that has
// inspected the file and stays in use. The options that only Open can apply (BusyTimeout,
// MustExist, Immutable, Claim) stay as they were.
func (c *Conn) Reconfigure(opts Options) error {
	opts.Claim = nil
	if err := c.begin(opts); err != nil {
		return err
	}
	if c.ledger = opts.Ledger; c.ledger != nil {
		c.hook()
	}
	return nil
}

func dsn(path string, o Options) (string, error) {
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 5 * time.Second
	}
	q := url.Values{}
	q.Set("_txlock", "immediate")   // for database/sql: a transaction that reads first could not write after another connection's commit
	q.Set("_time_format", "sqlite") // the default, time.Time.String, cannot always be parsed again
	q.Set("_pragma", fmt.Sprintf("busy_timeout(%d)", o.BusyTimeout.Milliseconds()))
	switch {
	case o.Immutable:
		q.Set("mode", "ro")
		q.Set("immutable", "1")
	case o.ReadOnly:
		q.Set("mode", "ro")
	case o.MustExist:
		q.Set("mode", "rw")
	}
	if o.writes(path) {
		name, err := vfs.Name()
		if err != nil {
			return "", err
		}
		q.Set("vfs", name)
	}
	return fileURI(path) + "?" + q.Encode(), nil
}

// writes reports whether the connection can write to a file.
func (o Options) writes(path string) bool { return !o.Immutable && !o.ReadOnly && path != ":memory:" }

// pragmas returns the script that sets up a connection. Parts of it read the file.
func (o Options) pragmas() string {
	if o.Synchronous == "" {
		o.Synchronous = SyncNormal
	}
	var script strings.Builder
	pragma := func(name string, value any) { fmt.Fprintf(&script, "PRAGMA %s=%v;", name, value) }
	if o.Exclusive {
		pragma("locking_mode", "EXCLUSIVE") // must come first, or a WAL database does not lock its file
	}
	if !o.KeepJournal && !o.Immutable && !o.ReadOnly {
		if o.Synchronous != SyncOff {
			// Switching from a rollback journal to WAL is itself a commit through the journal.
			// Below FULL, the journal's header may reach the disk before the page in it; after
			// a power loss at that moment, that page would overwrite the file's first page.
			pragma("synchronous", SyncFull)
		}
		pragma("journal_mode", "WAL")
	}
	pragma("synchronous", o.Synchronous)
	if o.CacheKiB > 0 {
		pragma("cache_size", -o.CacheKiB)
	}
	pragma("temp_store", "FILE") // the page cache holds what is small; VACUUM and the sort of a large index must not keep everything in memory
	if o.ForeignKeys {
		pragma("foreign_keys", "ON")
	}
	if o.QueryOnly {
		pragma("query_only", "ON")
	}
	return script.String()
}

// fileURI returns path as a URI in which SQLite takes no character for syntax.
func fileURI(path string) string {
	p := filepath.ToSlash(path)
	if filepath.IsAbs(path) && !strings.HasPrefix(p, "/") {
		p = "/" + p // file:///C:/…
	}
	u := url.URL{Path: p}
	e := u.EscapedPath()
	if strings.HasPrefix(e, "/") {
		return "file://" + e
	}
	return "file:" + strings.TrimPrefix(e, "./")
}

// Close finalizes the cached statements and closes the connection.
func (c *Conn) Close() error {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	for _, st := range c.cache {
		st.Finalize()
	}
	libc.Xfree(c.TLS, c.cells)
	if c.ledger != nil {
		c.unhook()
	}
	c.restoreMutex()
	guards.Delete(c.DB) // before another connection has its address
	err := c.Driver.Close()
	pagecache.Forget(c.TLS)
	if c.holds {
		c.checkpointer.release()
	}
	return err
}

// Interrupt makes the statement that is running on c fail. Any goroutine may call it. It does
// nothing if no statement is running.
func (c *Conn) Interrupt() {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.closed {
		return
	}
	tls := libc.NewTLS() // c.TLS belongs to the goroutine that runs the statement
	defer tls.Close()
	lib.Xsqlite3_interrupt(tls, c.DB)
}

// Watch interrupts c's statements when ctx ends. The caller must call stop once its statements
// are done, and may call it more than once: after stop returns, no interrupt follows.
func (c *Conn) Watch(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		c.Interrupt()
	})
	stopped := false
	return func() {
		if !stopped && !cancel() {
			<-done
		}
		stopped = true
	}
}

// Err returns the connection's last error as an *Error.
func (c *Conn) Err(rc int32) error {
	if rc&0xff == lib.SQLITE_OK {
		return nil
	}
	if cause := c.cause; cause != nil {
		c.cause = nil
		return cause
	}
	msg := string(CString(lib.Xsqlite3_errmsg(c.TLS, c.DB)))
	if ext := lib.Xsqlite3_extended_errcode(c.TLS, c.DB); ext&0xff == rc&0xff {
		rc = ext
	} else {
		msg = string(CString(lib.Xsqlite3_errstr(c.TLS, rc)))
	}
	return NewError(int(rc), msg)
}

// FailedBy records that the running statement is about to fail because of err; nil clears that
// once the statement is over. Virtual tables and hooks use it, because SQLite passes on only
// the text of their errors.
func (c *Conn) FailedBy(err error) { c.cause = err }

// Configure sets one of SQLite's SQLITE_DBCONFIG switches.
func (c *Conn) Configure(op int32, on bool) error {
	args := libc.Xcalloc(c.TLS, 2, 8) // the variadic arguments: an int in a slot of 8 bytes, and a null pointer
	defer libc.Xfree(c.TLS, args)
	return c.Err(lib.Xsqlite3_db_config(c.TLS, c.DB, op, libc.VaList(args, libc.Bool32(on), uintptr(0))))
}

// Autocommit reports whether no transaction is open.
func (c *Conn) Autocommit() bool { return lib.Xsqlite3_get_autocommit(c.TLS, c.DB) != 0 }

// zMain is never freed.
var zMain, _ = libc.CString("main")

// reads reports whether c is in a transaction that has read the database and not written.
func (c *Conn) reads() bool {
	return lib.Xsqlite3_txn_state(c.TLS, c.DB, zMain) == lib.SQLITE_TXN_READ
}

// Changes is the number of rows that the last INSERT, UPDATE or DELETE changed.
func (c *Conn) Changes() int64 { return lib.Xsqlite3_changes64(c.TLS, c.DB) }

// Exec runs every statement of script to completion.
func (c *Conn) Exec(script string) error {
	z, err := libc.CString(script)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.TLS, z)
	return c.Err(lib.Xsqlite3_exec(c.TLS, c.DB, z, 0, 0, 0))
}

// Do runs one statement that returns nothing, and keeps it compiled.
func (c *Conn) Do(statement string) error {
	st, err := c.Cached(statement)
	if err != nil {
		return err
	}
	err = st.Run() // this also resets it, and nothing is bound
	if c.cache[statement] != st {
		st.Finalize()
	}
	st.inUse = false
	return err
}

// Rollback rolls back the open transaction, if there is one. It retries if it is hit by an
// interrupt that was meant for an earlier statement.
func (c *Conn) Rollback() (err error) {
	for range 100 {
		if c.Autocommit() {
			return nil // SQLite may have rolled back on its own
		}
		if err = c.Do("ROLLBACK"); !IsInterrupted(err) {
			break
		}
	}
	if c.Autocommit() {
		return nil
	}
	return err
}

// Int runs query and returns the first column of its only row.
func (c *Conn) Int(query string) (int64, error) {
	var n int64
	err := c.Each(query, func(st *Stmt) error { n = st.Int64(0); return nil })
	return n, err
}

// Text runs query and returns the first column of its only row.
func (c *Conn) Text(query string) (string, error) {
	var s string
	err := c.Each(query, func(st *Stmt) error { s = st.Text(0); return nil })
	return s, err
}

// Each runs query without caching it, and calls fn for every row.
func (c *Conn) Each(query string, fn func(*Stmt) error) error {
	st, err := c.Prepare(query)
	if err != nil {
		return err
	}
	defer st.Finalize()
	return st.Each(fn)
}
