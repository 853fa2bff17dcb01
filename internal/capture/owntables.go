package capture

import (
	"errors"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ownTables watches the definitions of DriftDB's own tables.
type ownTables struct {
	c           *sqlite.Conn
	own         *ownStatements
	shared      *Shared
	list, last  *sqlite.Stmt
	definitions string            // as last read
	at          sqlite.SchemaMark // the state of the schema then
	rows        int64             // the rowid of the schema's last row then
	intact      int64             // schema cookie at which check last found them unaltered
}

func (o *ownTables) prepare() error {
	return o.own.prepare(
		ownStatement{&o.list, "SELECT name || ' ' || coalesce(sql, '') FROM main.sqlite_schema WHERE rowid > ?1 AND tbl_name >= '_driftdb_' COLLATE NOCASE AND tbl_name < '_driftdb`' COLLATE NOCASE ORDER BY name"},
		ownStatement{&o.last, "SELECT max(rowid) FROM main.sqlite_schema"},
	)
}

var errTampered = errors.New("capture: another program has dropped or altered _driftdb_log or another of DriftDB's own tables, so nothing can be committed; restore the database from its bucket, or Detach the file to begin a new backup")

// check returns an error if our own tables were altered. It looks only if the
// schema has changed.
func (o *ownTables) check(cookie int64) error {
	if o.intact == cookie {
		return nil
	}
	found, err := o.read()
	if err != nil {
		return err
	}
	if found != o.shared.ownTables(found) {
		return errTampered
	}
	o.intact = cookie
	return nil
}

// read returns the definitions of our own tables and of their indexes and triggers. It
// reads the whole schema, once for each state of it that follow has not covered.
func (o *ownTables) read() (string, error) {
	if o.c.SchemaMark() == o.at {
		return o.definitions, nil
	}
	o.definitions = ""
	err := o.readFrom(0)
	return o.definitions, err
}

// readFrom adds the definitions that come after the given row of the schema.
func (o *ownTables) readFrom(after int64) error {
	o.list.BindInt64(1, after)
	_, err := o.own.run(o.list, func(st *sqlite.Stmt) { o.definitions += st.Text(0) + ";" })
	if err != nil {
		return err
	}
	if _, err := o.own.run(o.last, func(st *sqlite.Stmt) { o.rows = st.Int64(0) }); err != nil {
		return err
	}
	o.at = o.c.SchemaMark() // running the statements has brought it up to date
	return nil
}

// follow brings the definitions up to date after a statement; they must have been up to
// date before. A CREATE only adds rows at the end of the schema, unless the program may
// write the schema itself. So creating thousands of tables does not read the whole schema
// each time.
func (o *ownTables) follow(statement string) error {
	if words(statement, 1)[0] != "CREATE" || o.c.Has(sqlite.WriteSchema) || o.rows >= lastSequentialRow {
		return nil
	}
	return o.readFrom(o.rows)
}

// lastSequentialRow is far below the rowid from which SQLite assigns rowids at random.
const lastSequentialRow = 1 << 40
