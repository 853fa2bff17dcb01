// Package doctor examines a database file, its place, its store and its backup, and says what
// is wrong and what to do about it.
//
// Each check is a small function in the table of checks, which runs from top to bottom. It finds
// one thing out and changes nothing, with two exceptions that Config.ReadOnly turns off: the check
// of the disk makes a file beside the database and removes it, and the checks of rights store
// objects below the database's folder nodes/doctor in the bucket, and delete them.
package doctor

import (
	"context"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// Config says what to examine.
type Config struct {
	Path     string         // of the database file; empty: none
	Store    objstore.Store // nil: none
	Unopened error          // why the store could not be opened; Store is nil then
	Name     string         // of the database in the store; empty: the one that the file has
	Keys     []string       // 64 hex digits each; none: no encryption

	ReadOnly  bool          // write nothing, not even to try whether that works
	Full      bool          // read every row: SQLite's whole check, and the log's digests
	Retention time.Duration // what the program has configured; negative: everything is kept

	// VerifiedAt returns when the backup with this name and id was last verified; zero: not known.
	VerifiedAt func(name, databaseID string) time.Time

	Limits Limits
}

// Limits are the bounds past which something is worth a warning.
type Limits struct {
	WAL       int64         // bytes of the -wal
	Log       int64         // bytes of changes that are not sent
	Unsent    time.Duration // age of the oldest change that is not sent
	Replay    int64         // bytes of the log since the newest snapshot; twice that snapshot if it is more
	Garbage   int           // objects that garbage collection would delete
	Verified  time.Duration // since the last verification
	Uncleaned time.Duration // between the last garbage collection and the last manifest
	Skew      time.Duration // between this machine's clock and the store's
	Refused   time.Duration // the same, past which a store refuses requests
	LowSpace  int64         // free bytes below which writes are about to fail
	Patience  time.Duration // how long a check waits for the store
}

// Defaults are the limits of OPERATIONS.md.
func Defaults() Limits {
	const day = 24 * time.Hour
	return Limits{
		WAL: 64 << 20, Log: 256 << 20, Unsent: 5 * time.Minute, Replay: 64 << 20, Garbage: 1000,
		Verified: 8 * day, Uncleaned: 3 * day, Skew: 5 * time.Minute, Refused: 15 * time.Minute,
		LowSpace: 16 << 20, Patience: 20 * time.Second,
	}
}

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK       Status = "ok"
	Warning  Status = "warning"   // it works, and is worth a look
	Failed   Status = "failed"    // data is at risk, or something does not work
	NotTried Status = "not tried" // the finding says why
)

// Finding is what a check has found.
type Finding struct {
	About  string // what the check is about: file, database, store, rights or backup
	Check  string // its name
	Status Status
	Found  string
	Remedy string // what to do; empty if there is nothing
}

func okay(found string) Finding { return Finding{Status: OK, Found: found} }
func warn(found, remedy string) Finding {
	return Finding{Status: Warning, Found: found, Remedy: remedy}
}
func failed(found, remedy string) Finding {
	return Finding{Status: Failed, Found: found, Remedy: remedy}
}
func notTried(why string) Finding { return Finding{Status: NotTried, Found: why} }

// examination is a row of the table. What it needs is there when run is called.
type examination struct {
	about, name string
	needs       need
	run         func(*patient, context.Context) Finding
}

// need is what a check needs of the patient.
type need string

const (
	nothing        need = ""
	aPlace         need = "place"    // the file's path could be resolved
	aFile          need = "file"     // there is a regular file
	aDatabase      need = "database" // a connection is open
	aLog           need = "log"      // the file has DriftDB's tables
	aStore         need = "store"    // the store answers
	aName          need = "name"     // the store answers, and the database's name is known
	aTrial         need = "trial"    // an object was stored to try the rights with
	aManifest      need = "manifest" // the backup's manifest was read
	logAndManifest need = "log and manifest"
)

// checks are all checks, in their order.
var checks = []examination{
	{"file", "kind", aPlace, (*patient).kind},
	{"file", "names", aFile, (*patient).names},
	{"file", "access", aFile, (*patient).access},
	{"file", "file system", aPlace, (*patient).fileSystem},
	{"file", "space", aPlace, (*patient).space},
	{"file", "disk", aPlace, (*patient).disk},
	{"file", "lock", aFile, (*patient).lock},
	{"file", "shutdown", aFile, (*patient).shutdown},
	{"file", "side files", aFile, (*patient).sides},
	{"file", "wal", aFile, (*patient).wal},
	{"file", "leftovers", aPlace, (*patient).leftovers},

	{"database", "header", aFile, (*patient).header},
	{"database", "pages", aDatabase, (*patient).pages},
	{"database", "rows", aDatabase, (*patient).rows},
	{"database", "driftdb", aDatabase, (*patient).known},
	{"database", "other programs", aLog, (*patient).others},
	{"database", "log", aLog, (*patient).logSize},
	{"database", "unsent", aLog, (*patient).unsent},

	{"store", "address", nothing, (*patient).address},
	{"store", "tls", aStore, (*patient).tls},
	{"store", "region", aStore, (*patient).region},
	{"store", "credentials", aStore, (*patient).credentials},

	{"rights", "list", aName, (*patient).list},
	{"rights", "put", aName, (*patient).put},
	{"rights", "get", aTrial, (*patient).get},
	{"rights", "head", aTrial, (*patient).head},
	{"rights", "put if-none-match", aTrial, (*patient).putIfAbsent},
	{"rights", "put if-match", aTrial, (*patient).putIfMatch},
	{"rights", "conditions", aTrial, (*patient).conditions},
	{"rights", "delete", aTrial, (*patient).remove},
	{"store", "clock", aStore, (*patient).clock},

	{"backup", "key", aName, (*patient).key},
	{"backup", "manifest", aManifest, (*patient).backup},
	{"backup", "writer", aManifest, (*patient).writer},
	{"backup", "history", logAndManifest, (*patient).history},
	{"backup", "branches", aManifest, (*patient).branches},
	{"backup", "chain", aManifest, (*patient).chain},
	{"backup", "snapshot", aManifest, (*patient).snapshot},
	{"backup", "faults", aManifest, (*patient).faults},
	{"backup", "verified", aManifest, (*patient).verified},
	{"backup", "retention", aManifest, (*patient).retention},
	{"backup", "versions", aManifest, (*patient).versions},
	{"backup", "cost", aManifest, (*patient).cost},
}

// Examine runs all checks, and calls found for each finding as soon as it is made. An error
// means that a key is not one, that the examination was given up because ctx ended, or that it has
// left something behind.
func Examine(ctx context.Context, cfg Config, found func(Finding)) (err error) {
	p, err := newPatient(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := p.close(ctx); err == nil {
			err = cerr
		}
	}()
	for _, c := range checks {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var f Finding
		if why := p.lacks(c.needs); why != "" {
			f = notTried(why)
		} else {
			f = p.within(ctx, c)
		}
		f.About, f.Check = c.about, c.name
		found(f)
	}
	return ctx.Err()
}

// within runs a check. One that asks the store gets a limited time.
func (p *patient) within(ctx context.Context, c examination) Finding {
	switch c.about {
	case "store", "rights", "backup":
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, p.cfg.Limits.Patience)
		defer stop()
	}
	return c.run(p, ctx)
}

// Checks are the names of all checks, in their order.
func Checks() (names []string) {
	for _, c := range checks {
		names = append(names, c.about+" "+c.name)
	}
	return names
}

// Worst is the worst of the statuses that were found; of none, OK.
func Worst(all []Finding) Status {
	worst := OK
	for _, f := range all {
		if f.Status == Failed || f.Status == Warning && worst != Failed {
			worst = f.Status
		}
	}
	return worst
}
