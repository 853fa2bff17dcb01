package driftdb

import (
	"context"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/resolve"
	"github.com/driftdb/driftdb-go/objstore"
)

// Side is the side whose version of a row [Resolve] takes.
type Side string

// The sides of a divergence.
const (
	Ours   Side = "ours"   // the file's
	Theirs Side = "theirs" // the bucket's
)

// ConflictKind is the reason why a change in the file and one in the bucket conflict.
type ConflictKind string

// The kinds of conflicts.
const (
	// RowConflict: both changed the row, to different values, or one changed it and the
	// other deleted it.
	RowConflict ConflictKind = "row"
	// KeyConflict: both created a row with this key, with different values.
	KeyConflict ConflictKind = "key"
	// UniqueConflict: the row Other has a value that only one row may have.
	UniqueConflict ConflictKind = "unique"
	// ParentConflict: one side has a row that refers to the row Other, which the other
	// side deleted.
	ParentConflict ConflictKind = "foreign key"
	// SchemaConflict: one side changed a definition, and the other changed it
	// differently, or changed the table's rows. Key names the definition, and Base, Ours
	// and Theirs have it as "sql". A virtual table whose contents both changed is a
	// SchemaConflict too.
	SchemaConflict ConflictKind = "schema"
)

// Conflict is a row or a definition that differs between the file and the bucket; the new
// file can have only one of the versions.
type Conflict struct {
	Kind ConflictKind
	ConflictRow
	Other  *ConflictRow // UniqueConflict, ParentConflict: the row that it conflicts with
	Choice Side         // that was chosen; "": none
}

// ConflictRow holds the versions of a row: as it was when file and bucket diverged, in
// the file, and in the bucket. A version is nil if the row does not exist there.
type ConflictRow struct {
	Table              string
	Key                map[string]any
	Base, Ours, Theirs map[string]any
}

// ResolveConfig says which file and which bucket to merge, and which side wins a
// conflict.
type ResolveConfig struct {
	Name string // of the database in the bucket
	Path string // of the file that diverged from it

	S3             *S3Config      // where the bucket is: set this
	Store          objstore.Store // or this
	EncryptionKeys []string       // as in Config

	// Prefer is the side that wins conflicts. Tables overrides it for single tables, by
	// name. If a conflict has no side, Resolve changes nothing and returns ErrConflict.
	Prefer Side
	Tables map[string]Side

	DryRun bool // only find out what would be done

	// OnConnect is as in Config: what is needed to read and write the schema.
	OnConnect  func(ctx context.Context, r *Registrar) error
	OnProgress func(Progress) // of the two restores that Resolve makes
}

// ResolveResult describes a divergence, and what was done about it.
type ResolveResult struct {
	// Diverged is set if each side has changes that the other lacks. If it is not,
	// there is nothing to resolve: Open brings the file up to date, or sends what it has.
	Diverged bool

	Common int64 // the last change that both have
	Latest int64 // the bucket's last change

	// Ours and Theirs are what only the file and only the bucket have: one change for
	// each row, from what it was when they diverged to what it is now, with the whole row
	// in Before and After. A changed definition is a Change with the operation schema and
	// the definition as SQL, which is empty if the definition no longer exists.
	Ours, Theirs []Change

	Conflicts []Conflict

	Resolved bool   // the file was replaced by one that continues the bucket's history
	Applied  int    // how many of the file's rows and definitions the new file took over, or would
	Sequence int64  // the new file's last change
	Branch   string // the branch in which the bucket keeps the old file's contents: RestoreOptions.Branch
	Duration time.Duration
}

// Resolve settles ErrDiverged and ErrFenced without losing either side. It replaces the
// file with one that has the bucket's history and, on top of it, the file's own changes
// as new changes, which the next Open sends like any others.
//
// Resolve compares three states to find what each side changed: the last one that both
// had, the file's, and the bucket's. If one side changed a row, the new file has that
// side's version; if both changed it in the same way, it has that version. Any other row
// that both changed is a conflict, even if they changed different columns: programs check
// a row as a whole, and nobody knows whether a mixture that neither side has ever seen is
// valid. Changes that together would violate a UNIQUE constraint or a foreign key are
// conflicts too. Rows are identified by their primary key. Without one, rows that the
// file inserted are new rows, whatever their rowids. A row whose key was changed counts
// as one deleted row and one new row. Definitions are merged like rows. If one side
// changed a table's definition, and the other its definition or rows, the whole table is
// a conflict.
//
// If Prefer or Tables choose a side for a conflict, that side's versions of all the rows
// in the conflict win. For a unique or foreign-key conflict, the Conflict's Table
// decides.
//
// Nothing is lost: before the file is replaced, the bucket gets its contents as a branch
// (Backup.Info lists it, RestoreOptions.Branch restores it), which is kept for
// Config.Retention like everything else. However Resolve ends, even in a crash, the file
// is either the old or the new one, and you can call Resolve again. It writes nothing to
// the old file, and takes no epoch: if another writer sends changes before the next Open
// of the new file has sent its own, the two have diverged again, and you have to call
// Resolve again.
//
// No program may have the file open (ErrLocked). Resolve uses the network, up to four
// times as much disk space as the database takes, and memory for the changes that it
// lists. Errors: ErrConflict; ErrNoBackup if the bucket has nothing, or can no longer be
// restored to the last state that both had; ErrDiverged if it has another database; and
// those of [Restore]. With ErrConflict, the result lists the conflicts.
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
	return out, fail(err)
}

func (cfg ResolveConfig) resolve(ctx context.Context) (resolve.Result, error) {
	for table, side := range cfg.Tables {
		if side != Ours && side != Theirs {
			return resolve.Result{}, fmt.Errorf("resolve %s: Tables[%q] is %q; use %q or %q", cfg.Path, table, side, Ours, Theirs)
		}
	}
	if cfg.Prefer != "" && cfg.Prefer != Ours && cfg.Prefer != Theirs {
		return resolve.Result{}, fmt.Errorf("resolve %s: Prefer is %q; use %q or %q", cfg.Path, cfg.Prefer, Ours, Theirs)
	}
	c, err := BackupConfig{Name: cfg.Name, S3: cfg.S3, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys, OnConnect: cfg.OnConnect}.internal()
	if err != nil {
		return resolve.Result{}, fmt.Errorf("resolve %s: %w", cfg.Path, err)
	}
	return backup.Resolve(ctx, c, cfg.Path, resolve.Options{DryRun: cfg.DryRun, Choose: cfg.side, Progress: progress(cfg.OnProgress)})
}

// side returns the side that wins conflicts in a table.
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
