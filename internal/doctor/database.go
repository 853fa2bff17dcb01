package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

const restoreIt = "keep a copy of the file as it is, check the disk, and restore: driftdb restore --store URL --name NAME --out NEW"

func (p *patient) header(context.Context) Finding {
	head, err := sqlite.ReadHeader(p.sight.Path())
	if sqlite.IsNotDatabase(err) && !p.traces.InWAL() { // else the WAL may complete it
		return failed(fmt.Sprintf("this is no SQLite database, or a damaged one, such as one that was cut off (%v)", err), restoreIt)
	}
	if err != nil && !sqlite.IsNotDatabase(err) {
		return failed("the file cannot be read: "+err.Error(), "check its owner and mode, and the disk")
	}
	if why := p.unopenable(); why != "" {
		p.lack(why, aDatabase, aLog)
		return notTried(why)
	}
	if err := p.open(); err != nil {
		return failed("SQLite cannot open the database: "+err.Error(), restoreIt)
	}
	p.has(aDatabase)
	p.lack("DriftDB has never written to this file", aLog)
	mode := "in WAL mode"
	if !head.WAL {
		mode = "not in WAL mode: DriftDB changes that when it opens the file"
	}
	return okay(fmt.Sprintf("a SQLite database with pages of %d bytes, %s", head.PageSize, mode))
}

// unopenable is why the database must not be opened: SQLite would change something, or read a
// file that does not belong to it.
func (p *patient) unopenable() string {
	if len(p.strange) > 0 {
		return "files that do not belong to the database lie beside it"
	}
	if n, there := p.sight.SideSize("-journal"); there && n > 0 {
		return "to read the database, SQLite would first take back what is in its rollback journal"
	}
	return ""
}

// open opens a connection that changes nothing, and leaves everything as it was. A database in
// WAL mode has a -wal and a -shm while it is open, and they go when the last connection is closed:
// so they stay only if they were there before.
func (p *patient) open() error {
	_, keep := p.sight.SideSize("-wal")
	c, err := sqlite.Open(p.sight.Path(), sqlite.Options{MustExist: true, KeepJournal: true, QueryOnly: true, Distrust: true})
	if err != nil {
		return err
	}
	if keep || p.lockedBy != "" {
		err = c.KeepWAL(true)
	}
	now, gone := os.Lstat(p.sight.Path())
	if err == nil && (gone != nil || !os.SameFile(p.sight.Info(), now)) {
		err = errors.New("the file was replaced meanwhile")
	}
	if err == nil {
		_, err = c.Int("SELECT count(*) FROM main.sqlite_schema")
	}
	if err != nil {
		return errors.Join(err, c.Close())
	}
	p.c = c
	return nil
}

func (p *patient) pages(ctx context.Context) Finding {
	stop := p.c.Watch(ctx)
	defer stop()
	damage, err := p.c.Damage(false)
	switch {
	case ctx.Err() != nil:
		return notTried("given up")
	case err != nil:
		return failed("the pages cannot be read: "+err.Error(), "check the disk")
	case damage != "":
		return failed("quick_check finds the file damaged: "+damage, restoreIt)
	}
	return okay("quick_check finds nothing wrong with the pages")
}

func (p *patient) rows(ctx context.Context) Finding {
	if !p.cfg.Full {
		return notTried("it reads every row: --full")
	}
	if err := p.c.Exec("BEGIN"); err != nil {
		return failed("the database cannot be read: "+err.Error(), "check the disk")
	}
	report, err := check.Run(ctx, p.c, check.Options{})
	if err = errors.Join(err, p.c.Rollback()); err != nil {
		return failed("the rows cannot be read: "+err.Error(), "check the disk")
	}
	if n := len(report.Faults); n > 0 {
		first := report.Faults[0]
		if n == 1 {
			return p.fault(first.Kind, first.String())
		}
		return p.fault(first.Kind, fmt.Sprintf("%s, and %d more", first, n-1))
	}
	if known, err := changelog.Exists(p.c); err != nil || !known {
		return okay(several(report.Rows, "row", "rows") + "; integrity_check and foreign_key_check find nothing")
	}
	err = foreign.Prove(ctx, p.c)
	switch {
	case errors.Is(err, foreign.ErrAltered):
		return failed("the tables do not hold what the log says: "+err.Error(), "check the disk; compare with driftdb restore; report it if the disk is well and no other program has written to the file")
	case err != nil:
		return okay(fmt.Sprintf("%s; integrity_check and foreign_key_check find nothing (that the log says the same is not shown: %v)", several(report.Rows, "row", "rows"), err))
	}
	return okay(several(report.Rows, "row", "rows") + "; integrity_check and foreign_key_check find nothing, and the log's digests agree")
}

// fault is the finding of a fault of the database.
func (p *patient) fault(kind check.Kind, what string) Finding {
	switch kind {
	case check.Damage:
		return failed("integrity_check finds "+what, restoreIt)
	case check.Unreadable:
		return warn(what, "the program registers what this one lacks (Config.OnConnect)")
	case check.Index:
		return warn("integrity_check finds "+what, "REINDEX, in the program or with db.Exec")
	}
	return warn("integrity_check finds "+what, "repair the rows; the backup has the same fault")
}

func (p *patient) known(context.Context) Finding {
	state, id, err := changelog.Inspect(p.c)
	switch {
	case errors.Is(err, changelog.ErrVersion):
		return failed(err.Error(), "upgrade driftdb and the program")
	case err != nil:
		return failed("DriftDB cannot use the database: "+err.Error(), "change what the message names")
	case state != changelog.Known:
		return okay("DriftDB has never written to this file; the first Open adopts it")
	}
	if err := changelog.Check(p.c); err != nil {
		return failed("DriftDB's own tables are damaged: "+err.Error(), restoreIt)
	}
	l := changelog.View(p.c)
	if p.books, err = l.Books(); err == nil {
		p.last, err = l.Last()
	}
	if err != nil {
		return failed("DriftDB's own tables cannot be read: "+err.Error(), restoreIt)
	}
	p.has(aLog)
	p.id = id
	if p.dbName == "" {
		p.dbName = id.Name
	}
	if id.Name != "" && id.Name != p.dbName {
		return failed(fmt.Sprintf("the file belongs to the database %q, not to %q", id.Name, p.dbName), "give --name "+id.Name+", or detach the file from it: driftdb detach")
	}
	role := "the writer's file"
	if id.Follower {
		role = "a follower's file"
	}
	name := id.Name
	if name == "" {
		name = "no name yet, because it had no store"
	}
	return okay(fmt.Sprintf("%s: %s, node %s, id %s, %s committed", role, name, id.NodeID, id.DatabaseID, several(p.last, "change", "changes")))
}

func (p *patient) others(context.Context) Finding {
	if p.lockedBy != "" {
		return notTried("the program that has the database open looks for that itself")
	}
	if belongs, err := p.walBelongs(); err != nil || !belongs {
		found := "the -wal belongs to another database, or to another state of this one: the file was replaced"
		if err != nil {
			found = err.Error()
		}
		return failed(found, "put back the file that belongs to the -wal, or move the -wal and the -shm away to use the file as it is")
	}
	same, err := p.traces.AsLeft(p.c)
	switch {
	case err != nil:
		return failed("that cannot be found out: "+err.Error(), "check the disk")
	case !same && p.traces.Moved():
		return warn("the file was replaced since DriftDB closed it, or copied here", "if that was not meant, find out what did it; the next Open compares the file with the bucket before it sends anything")
	case !same:
		return warn("another program has written to the file since DriftDB closed it", "let it write through the program; otherwise the next Open takes a snapshot, and points in between cannot be restored")
	}
	return okay("nobody else has written to the file since DriftDB closed it")
}

func (p *patient) walBelongs() (bool, error) {
	if !p.traces.InWAL() {
		return true, nil
	}
	return p.traces.WALBelongs(context.Background(), p.c)
}

// logged returns the size of the log.
func (p *patient) logged() (size changelog.Size, err error) {
	st, err := p.c.Prepare(changelog.SizeQuery)
	if err != nil {
		return size, err
	}
	defer st.Finalize()
	return changelog.ReadSize(st, p.books.Acked)
}

func (p *patient) logSize(context.Context) Finding {
	log, err := p.logged()
	if err != nil {
		return failed("the log cannot be read: "+err.Error(), restoreIt)
	}
	if log.Unsent > p.cfg.Limits.Log {
		return warn(fmt.Sprintf("the log has %s that are not sent; past MaxLogBytes it is given up, which loses history but no data", size(log.Unsent)), "bring the bucket back (see store and rights below), or give the program a store")
	}
	return okay(fmt.Sprintf("the log has %s, of which %s are not sent", size(log.Bytes), size(log.Unsent)))
}

func (p *patient) unsent(context.Context) Finding {
	log, err := p.logged()
	switch {
	case err != nil:
		return failed("the log cannot be read: "+err.Error(), restoreIt)
	case p.id.Name == "" && p.books.Acked == 0:
		return okay("the database has no store")
	case p.id.Follower:
		return okay("a follower has nothing of its own to send")
	case p.books.Acked >= p.last || log.Since == 0:
		return okay(fmt.Sprintf("the bucket has all changes, up to %d", p.last))
	}
	found := fmt.Sprintf("%s not sent, the oldest of %s", several(p.last-p.books.Acked, "change is", "changes are"), ago(log.Since))
	if time.Since(time.UnixMilli(log.Since)) > p.cfg.Limits.Unsent {
		remedy := "see store and rights below, and the program's log (sync.failed, sync.denied)"
		if p.lockedBy == "" {
			remedy = "start the program: it sends them; no program has the database open"
		}
		return warn(found+": that much would be lost with the disk", remedy)
	}
	return okay(found)
}
