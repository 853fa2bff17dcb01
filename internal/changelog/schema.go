// Package changelog manages DriftDB's own tables in a database: the log that capture
// writes, the queue of uploads, and what the database records about itself and its
// bucket.
//
// Everything that must survive a crash is kept here, and written in the same transaction
// as the changes that it describes.
package changelog

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/google/uuid"
)

// Format is the version of these tables. A program refuses newer ones.
const Format = 1

// ErrVersion means that a newer program wrote the database.
var ErrVersion = errors.New("the database was written by a newer version of DriftDB; upgrade the program")

const tables = `
CREATE TABLE _driftdb_log(
	sequence INTEGER PRIMARY KEY, -- of the transaction's first entry
	count    INTEGER NOT NULL,    -- of its entries
	time     INTEGER NOT NULL,    -- Unix milliseconds, as the clock said
	schema   INTEGER NOT NULL,    -- schema cookie after the transaction
	data     BLOB    NOT NULL     -- see package change
);
CREATE TABLE _driftdb_shape(
	id  INTEGER PRIMARY KEY,
	def TEXT NOT NULL UNIQUE      -- JSON: table, columns, key, rowid
);
CREATE TABLE _driftdb_queue(
	id            INTEGER PRIMARY KEY,
	kind          TEXT    NOT NULL, -- upload, delete
	status        TEXT    NOT NULL, -- pending, processing
	epoch         INTEGER NOT NULL,
	from_sequence INTEGER NOT NULL,
	to_sequence   INTEGER NOT NULL,
	object        TEXT    NOT NULL, -- key of the object that the job makes
	due           INTEGER NOT NULL DEFAULT 0, -- Unix ms; not before
	attempts      INTEGER NOT NULL DEFAULT 0,
	error         TEXT
);
CREATE TABLE _driftdb_digest(
	name TEXT PRIMARY KEY,        -- of a table
	sum  BLOB    NOT NULL,        -- its digest, of the state that the bucket has
	told INTEGER NOT NULL         -- 1 if the bucket says so
) WITHOUT ROWID;
CREATE TABLE _driftdb_meta(
	key   TEXT PRIMARY KEY,
	value NOT NULL
) WITHOUT ROWID;
`

// The keys of _driftdb_meta.
const (
	metaFormat     = "format"      // Format
	metaDatabaseID = "database_id" // UUID, assigned once, never changed
	metaName       = "name"        // the name in the bucket, once a store was given
	metaNodeID     = "node_id"     // the node that writes this file
	metaStart      = "start"       // sequence after which the log of this file began
	metaAcked      = "acked"       // last sequence that the bucket has
	metaChain      = "chain"       // chain after it, hex
	metaConfirmed  = "confirmed"   // last sequence that a manifest confirms
	metaSnapshot   = "snapshot"    // sequence of the newest snapshot in the bucket
	metaRole       = "role"        // follower: the file only receives what its bucket confirms; missing: it writes
	metaLargest    = "largest"     // the most pages the file has had, rounded up; written with the log
)

// Identity identifies a database file.
type Identity struct {
	DatabaseID string
	Name       string // empty until a store was given
	NodeID     string
	Follower   bool // the file only receives the bucket's changes: nothing of its own may be committed to it
}

// ErrFollower means that a follower's file was opened for writing.
var ErrFollower = errors.New("the file is a follower: it only receives what another writer commits. To write to it, promote it (Follower.Promote, or driftdb promote); to read it, open it with ReadOnly")

// roleFollower is the role of a follower in _driftdb_meta.
const roleFollower = "follower"

// Exists reports whether the database already has DriftDB's tables.
func Exists(c *sqlite.Conn) (bool, error) {
	n, err := c.Int("SELECT count(*) FROM main.sqlite_schema WHERE name = '_driftdb_meta'")
	return n > 0, err
}

// Adopted is the state in which Init found the database.
type Adopted int

// The states in which Init may find a database.
const (
	Known   Adopted = iota // it has DriftDB's tables
	Fresh                  // it was empty
	Foreign                // it has tables or settings that are not in the log: the log begins with a barrier
)

// Inspect determines the state of the database, and its identity if it has DriftDB's
// tables. It changes nothing. A database that Init would refuse is an error.
func Inspect(c *sqlite.Conn) (Adopted, Identity, error) {
	if enc, err := c.Text("PRAGMA encoding"); err != nil {
		return 0, Identity{}, err
	} else if enc != "UTF-8" {
		return 0, Identity{}, fmt.Errorf("the database's text encoding is %s; only UTF-8 can be logged (dump it with the sqlite3 tool and load the dump into a new file)", enc)
	}
	found, err := Exists(c)
	if err != nil {
		return 0, Identity{}, err
	}
	if found {
		if err := CheckFormat(c); err != nil {
			return 0, Identity{}, err
		}
		id, err := ReadIdentity(c)
		return Known, id, err
	}
	own, err := c.Int(`SELECT EXISTS (SELECT 1 FROM main.sqlite_schema) OR user_version <> 0 OR application_id <> 0 OR page_size <> 4096 OR auto_vacuum <> 0
		FROM pragma_user_version, pragma_application_id, pragma_page_size, pragma_auto_vacuum`)
	if err != nil || own == 0 {
		return Fresh, Identity{}, err
	}
	return Foreign, Identity{}, nil
}

// Init creates DriftDB's tables if they are missing, and otherwise checks their format. A
// non-empty node id replaces the one that the file has.
func Init(c *sqlite.Conn, nodeID string) (Adopted, error) {
	adopted, id, err := Inspect(c)
	if err != nil {
		return 0, err
	}
	if adopted == Known {
		if nodeID != "" && nodeID != id.NodeID {
			return Known, setMeta(c, metaNodeID, nodeID)
		}
		return Known, nil
	}
	id = Identity{DatabaseID: uuid.NewString(), NodeID: nodeID}
	b := Books{Snapshot: -1, Chain: batch.Genesis(id.DatabaseID), Earliest: NoTime}
	return adopted, create(c, id, b, time.Now().UnixMilli(), nil, adopted == Foreign)
}

// Continue makes c's database, which does not have DriftDB's tables, the continuation of
// the history that a bucket has up to b.Acked, whose last change was committed at last
// (Unix ms). sums are the digests of its tables.
func Continue(c *sqlite.Conn, id Identity, b Books, last int64, sums digest.Set) error {
	return create(c, id, b, last, sums, false)
}

func create(c *sqlite.Conn, id Identity, b Books, at int64, sums digest.Set, barrier bool) error {
	if id.NodeID == "" {
		id.NodeID = NewNodeID()
	}
	return transact(c, func() error {
		if err := c.Exec(tables); err != nil {
			return err
		}
		for key, value := range map[string]any{
			metaFormat: int64(Format), metaDatabaseID: id.DatabaseID, metaName: id.Name, metaNodeID: id.NodeID, metaStart: b.Acked,
		} {
			if err := setMeta(c, key, value); err != nil {
				return err
			}
		}
		if id.Follower {
			if err := setMeta(c, metaRole, roleFollower); err != nil {
				return err
			}
		}
		if err := writeBooks(c, b); err != nil {
			return err
		}
		if err := writeDigests(c, Digests{}, Digests{Known: sums}); err != nil {
			return err
		}
		return begin(c, b.Acked, at, barrier)
	})
}

// transact runs fn in the open transaction or, if there is none, in a new one.
func transact(c *sqlite.Conn, fn func() error) error {
	if !c.Autocommit() {
		return fn()
	}
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		err = c.Exec("COMMIT")
	}
	if err != nil && !c.Autocommit() {
		err = errors.Join(err, c.Exec("ROLLBACK"))
	}
	return err
}

// NewNodeID returns a fresh node id, 12 hex digits.
func NewNodeID() string {
	return strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
}

// CheckFormat returns an ErrVersion if c's database, which must have DriftDB's tables,
// was written by a newer program.
func CheckFormat(c *sqlite.Conn) error {
	v, err := metaInt(c, metaFormat)
	if err == nil && v > Format {
		err = fmt.Errorf("%w (format %d, this program supports %d)", ErrVersion, v, Format)
	}
	return err
}

func metaInt(c *sqlite.Conn, key string) (n int64, err error) {
	err = meta(c, key, func(st *sqlite.Stmt) { n = st.Int64(0) })
	return n, err
}

func metaText(c *sqlite.Conn, key string) (s string, err error) {
	err = meta(c, key, func(st *sqlite.Stmt) { s = st.Text(0) })
	return s, err
}

func meta(c *sqlite.Conn, key string, row func(*sqlite.Stmt)) error {
	st, err := c.Cached("SELECT value FROM main._driftdb_meta WHERE key = ?1")
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindText(1, key)
	return st.Each(func(st *sqlite.Stmt) error { row(st); return nil })
}

func setMeta(c *sqlite.Conn, key string, value any) error {
	st, err := c.Cached("INSERT INTO main._driftdb_meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value")
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindText(1, key)
	switch v := value.(type) {
	case int64:
		st.BindInt64(2, v)
	case string:
		st.BindText(2, v)
	}
	return st.Run()
}

// ReadIdentity reads the file's identity.
func ReadIdentity(c *sqlite.Conn) (id Identity, err error) {
	if id.DatabaseID, err = metaText(c, metaDatabaseID); err != nil {
		return id, err
	}
	if id.Name, err = metaText(c, metaName); err != nil {
		return id, err
	}
	if id.NodeID, err = metaText(c, metaNodeID); err != nil {
		return id, err
	}
	role, err := metaText(c, metaRole)
	if err == nil && role != "" && role != roleFollower {
		err = fmt.Errorf("%w: the file has the role %q, which this program does not know", ErrVersion, role)
	}
	id.Follower = role == roleFollower
	return id, err
}

// Promote ends the file's role as a follower, so that it can be written.
func (l *Log) Promote() error {
	err := l.commit(func() error {
		return bindRun(l.c, "DELETE FROM main._driftdb_meta WHERE key = ?1", func(st *sqlite.Stmt) { st.BindText(1, metaRole) })
	})
	if err == nil {
		l.id.Follower = false
	}
	return err
}

// SetName binds the file to its name in the bucket.
func SetName(c *sqlite.Conn, name string) error { return setMeta(c, metaName, name) }
