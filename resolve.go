package driftdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/resolve"
	"github.com/driftdb/driftdb-go/objstore"
)

// Side is whose version of a row [Resolve] takes.
type Side string

// The sides of a divergence.
const (
	Ours   Side = "ours"   // the file's
	Theirs Side = "theirs" // the bucket's
)

// ConflictKind says why a change of the file's does not go together with one of the
// bucket's.
type ConflictKind string

// The kinds of conflicts.
const (
	// RowConflict: both have changed the row, to different values; or one has changed
	// it, and the other has deleted it.
	RowConflict ConflictKind = "row"
	// KeyConflict: both have made a row with this key, with different values.
	KeyConflict ConflictKind = "key"
	// UniqueConflict: the row Other has a value that only one row may have.
	UniqueConflict ConflictKind = "unique"
	// ParentConflict: one side has a row that refers to the row Other, which the other
	// side has deleted.
	ParentConflict ConflictKind = "foreign key"
	// SchemaConflict: one side has changed a definition, and the other has changed it
	// otherwise, or the table's rows. Key names it, and Base, Ours and Theirs have it
	// as "sql". So is a virtual table whose contents both have changed.
	SchemaConflict ConflictKind = "schema"
)

// Conflict is a row, or a definition, that the file and the bucket have different
// versions of, of which the new file can have only one.
type Conflict struct {
	Kind ConflictKind
	ConflictRow
	Other  *ConflictRow // UniqueConflict, ParentConflict: what the row is in conflict with
	Choice Side         // that was made; "": none
}

// ConflictRow is the versions of a row: as it was when file and bucket parted, as the
// file has it, and as the bucket has it; nil where there is no such row.
type ConflictRow struct {
	Table              string
	Key                map[string]any
	Base, Ours, Theirs map[string]any
}

// ResolveConfig says which file and which bucket to bring together, and who is right.
type ResolveConfig struct {
	Name string // of the database in the bucket
	Path string // of the file that diverged from it

	S3             *S3Config      // where the bucket is: either this
	Store          objstore.Store // or this
	EncryptionKeys []string       // as in Config

	// Prefer is the side that is right where there is a conflict, and Tables that for
	// single tables, by their names. Without a side for each conflict Resolve changes
	// nothing, and returns ErrConflict.
	Prefer Side
	Tables map[string]Side

	DryRun bool // only find out what there is to do

	// OnConnect is as in Config: what the schema needs to be read and written.
	OnConnect  func(ctx context.Context, r *Registrar) error
	OnProgress func(Progress) // of the two restores that it takes
}

// ResolveResult describes a divergence, and what was done about it.
type ResolveResult struct {
	// Diverged says that neither of the two has all of the other's. If it is false,
	// nothing is to be resolved: Open brings the file up to date, or sends what it has.
	Diverged bool

	Common int64 // the last change that both have
	Latest int64 // the bucket's last change

	// Ours and Theirs are what the file and the bucket have of their own: for each row
	// one change, from what it was when they parted to what it is now, with the whole
	// row in Before and After. A changed definition is a Change with the operation
	// schema, and the definition as SQL; empty if there is none any more.
	Ours, Theirs []Change

	Conflicts []Conflict

	Resolved bool   // the file has been replaced by one that continues the bucket's history
	Applied  int    // how many of the file's rows and definitions that took over, or would
	Sequence int64  // the new file's last change
	Branch   string // what the bucket keeps the old file's contents as: RestoreOptions.Branch
	Duration time.Duration
}

// Resolve is the way out of ErrDiverged, and out of ErrFenced, that keeps both sides. It
// replaces the file by one that has the bucket's history and, on top of that, the file's
// own changes, as new changes, which the next Open sends like any others.
//
// What either side has changed is found by comparing three states: the last one that
// both had, the file's, and the bucket's. Of a row that one side has changed, the new
// file has that side's version; of one that both have changed alike, that. Any other row
// that both have changed is a conflict, also where they have changed different columns:
// a row is what a program checks as a whole, and of one that neither side has ever seen
// nobody knows whether it is right. So is what the two together would violate: a UNIQUE,
// a foreign key. Rows are told apart by their primary key. Without one, rows that the
// file has inserted are new rows, whatever their rowids. A row whose key was changed is
// one that was deleted, and another one. Definitions are merged like rows. A table whose
// definition one side has changed and whose definition or rows the other has changed is
// a conflict as a whole.
//
// A conflict that Prefer or Tables choose a side for has that side's versions of all the
// rows that it names. For a unique or a foreign key the table of the Conflict decides.
//
// Nothing is lost: before the file is replaced, the bucket gets its contents as a
// branch (Backup.Info lists it, RestoreOptions.Branch restores it), which is kept for
// Config.Retention like anything else. Whenever Resolve ends, be it by a crash, the file
// is the old one or the new one, and it can be called again. It writes nothing into the
// old file, and takes no epoch: if somebody else sends changes before the new file's
// next Open has, file and bucket have diverged again, and Resolve is to be called again.
//
// No program may have the file open (ErrLocked). It uses the network, and as much disk
// as the database has, up to four times; and memory for the changes that it lists.
// Errors: ErrConflict; ErrNoBackup when the bucket has nothing, or cannot be restored to
// the point in common any more; ErrDiverged when it has another database; and those of
// [Restore]. With ErrConflict the result says what the conflicts are.
func Resolve(ctx context.Context, cfg ResolveConfig) (ResolveResult, error) {
	began := time.Now()
	res, err := cfg.resolve(ctx)
	out := ResolveResult{
		Diverged: res.Diverged, Common: res.Common, Latest: res.Latest, Ours: publicChanges(res.Ours), Theirs: publicChanges(res.Theirs),
		Resolved: res.Resolved, Applied: res.Applied, Sequence: res.Sequence, Branch: res.Branch, Duration: time.Since(began),
	}
	for _, c := range res.Conflicts {
		out.Conflicts = append(out.Conflicts, publicConflict(c))
	}
	if err != nil {
		err = fail(fmt.Errorf("resolve %s: %w", cfg.Path, err))
	}
	return out, err
}

func (cfg ResolveConfig) resolve(ctx context.Context) (res resolve.Result, err error) {
	if cfg.Path == "" || cfg.Path == memory {
		return res, errors.New("Path must name a file")
	}
	for table, side := range cfg.Tables {
		if side != Ours && side != Theirs {
			return res, fmt.Errorf("Tables[%q] is %q; use %q or %q", table, side, Ours, Theirs)
		}
	}
	if cfg.Prefer != "" && cfg.Prefer != Ours && cfg.Prefer != Theirs {
		return res, fmt.Errorf("Prefer is %q; use %q or %q", cfg.Prefer, Ours, Theirs)
	}
	b, err := BackupConfig{Name: cfg.Name, S3: cfg.S3, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys, OnConnect: cfg.OnConnect}.backup(ctx)
	if err != nil {
		return res, err
	}
	file, err := dbfile.Take(cfg.Path)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, file.Abandon()) }()
	opts := resolve.Options{File: file, DryRun: cfg.DryRun, OnConnect: onConnect(ctx, b.onConnect), Choose: cfg.side}
	opts.Progress = RestoreOptions{OnProgress: cfg.OnProgress}.progress()
	if res, err = resolve.Run(ctx, b.bucket, opts); err != nil || !res.Resolved {
		return res, err
	}
	// The clean-shutdown marker is that of the old file. Without one of the new file's, Open
	// would take it for one that another program has put there, and store a snapshot.
	return res, foreign.MarkClean(file)
}

// side is who is right about a table.
func (cfg ResolveConfig) side(table string) resolve.Side {
	if side, ok := cfg.Tables[table]; ok {
		return resolve.Side(side)
	}
	return resolve.Side(cfg.Prefer)
}

func publicChanges(list []resolve.Change) (out []Change) {
	for _, c := range list {
		out = append(out, Change{
			Table: c.Table, Operation: Operation(c.Op.String()), Key: change.Map(c.Key), Before: change.Map(c.Before), After: change.Map(c.After), SQL: c.SQL,
		})
	}
	return out
}

func publicConflict(c *resolve.Conflict) Conflict {
	versions := func(v resolve.Versions) ConflictRow {
		return ConflictRow{Table: v.Table, Key: change.Map(v.Key), Base: change.Map(v.Base), Ours: change.Map(v.Ours), Theirs: change.Map(v.Theirs)}
	}
	out := Conflict{Kind: ConflictKind(c.Kind), ConflictRow: versions(c.Versions), Choice: Side(c.Choice)}
	if c.Other != nil {
		other := versions(*c.Other)
		out.Other = &other
	}
	return out
}
