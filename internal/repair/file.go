package repair

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ReadFile reads what the database file at path knows of its backup, which must be the
// one called name.
func ReadFile(path, name string) (_ *Known, err error) {
	if _, err := os.Stat(path); err != nil { // SQLite's error would not say that the file is missing
		return nil, err
	}
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, QueryOnly: true, KeepJournal: true, Distrust: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Exec("BEGIN"); err != nil { // another program may be writing to it
		return nil, err
	}
	ours, err := changelog.Exists(c)
	if err != nil {
		return nil, err
	}
	if !ours {
		return nil, fmt.Errorf("%s: %w: DriftDB has never opened this database", path, fs.ErrInvalid)
	}
	id, err := changelog.ReadIdentity(c)
	if err != nil {
		return nil, err
	}
	if id.Name != name {
		return nil, fmt.Errorf("%s: its backup has the name %q, not %q", path, id.Name, name)
	}
	return Read(c)
}
