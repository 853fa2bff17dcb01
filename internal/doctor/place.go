package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/foreign"
)

func (p *patient) kind(context.Context) Finding {
	info := p.sight.Info()
	if info == nil {
		return failed("there is no file "+p.sight.Path(), "check the path; driftdb restore --store URL --name NAME --out FILE fetches it from a backup")
	}
	if err := p.sight.Regular(); err != nil {
		return failed(err.Error(), "give the path of the database file")
	}
	p.has(aFile)
	p.lack("the database could not be opened", aDatabase, aLog)
	if info.Size() == 0 {
		return warn("the file is empty", "if it should have data, restore it: driftdb restore --store URL --name NAME --out FILE")
	}
	return okay("a regular file of " + size(info.Size()))
}

func (p *patient) names(context.Context) Finding {
	if n := p.sight.Names(); n > 1 {
		return warn(fmt.Sprintf("the file has %d names (hard links); SQLite's -wal lies beside the one that is opened, so a program that opens another one corrupts the database", n),
			"remove the other names: find / -samefile "+p.sight.Path())
	}
	asked, err := filepath.Abs(p.cfg.Path)
	if info, lerr := os.Lstat(p.cfg.Path); err == nil && lerr == nil && info.Mode()&os.ModeSymlink != 0 {
		return warn(fmt.Sprintf("%s is a symbolic link to %s; a program that replaces the link, such as a deploy script, replaces the database", asked, p.sight.Path()),
			"open the database by its own path, "+p.sight.Path())
	}
	return okay("one name, " + p.sight.Path())
}

func (p *patient) access(context.Context) Finding {
	info := p.sight.Info()
	if closed := p.sight.Unusable(); len(closed) > 0 {
		return failed("this user cannot read and write "+strings.Join(closed, ", "),
			"run as the user of the program, or change the owner and mode (chown, chmod) or the mount's options (ro)")
	}
	if info.Mode().Perm()&0o002 != 0 {
		return warn(fmt.Sprintf("every user of this machine may write it (mode %s)", info.Mode().Perm()), "chmod o-w "+p.sight.Path())
	}
	return okay(fmt.Sprintf("mode %s; this user can read and write it, the files beside it and its folder", info.Mode().Perm()))
}

func (p *patient) fileSystem(context.Context) Finding {
	if dangers := p.sight.Dangers(); len(dangers) > 0 {
		return failed(strings.Join(dangers, "; "), "move the database to a local disk, and mount folders, not files")
	}
	return okay("a local one, as far as can be told")
}

func (p *patient) space(context.Context) Finding {
	free, known := dbfile.FreeSpace(filepath.Dir(p.sight.Path()))
	if !known {
		return notTried("this system does not say how much room there is")
	}
	need := int64(0)
	if info := p.sight.Info(); info != nil {
		need = info.Size()
	}
	found := size(free) + " free"
	switch {
	case free < p.cfg.Limits.LowSpace:
		return failed(found+"; writes are about to fail", "make room on the disk of "+filepath.Dir(p.sight.Path()))
	case free < need:
		return warn(fmt.Sprintf("%s, less than the database takes (%s): a snapshot needs a copy of it for a while, and is sent as it is read without that room", found, size(need)),
			"make room on the disk of "+filepath.Dir(p.sight.Path()))
	}
	return okay(found)
}

func (p *patient) disk(context.Context) Finding {
	if p.cfg.ReadOnly {
		return notTried("it would write a file")
	}
	if err := p.sight.TryDisk(); err != nil {
		remedy := "check the disk, its free space and its mount's options"
		if dbfile.IsDiskFull(err) {
			remedy = "make room on the disk"
		}
		return failed("a file beside the database cannot be written and synced: "+err.Error(), remedy)
	}
	return okay("a file can be made, written, synced and removed beside the database")
}

func (p *patient) lock(context.Context) Finding {
	state, holder, err := p.sight.Lock()
	switch {
	case err != nil:
		return failed("no program can lock the database: "+err.Error(), "remove or repair "+p.sight.Path()+"-lock while no program has the database open")
	case state == dbfile.HeldLock:
		p.lockedBy = holder
		return okay(holder + " has the database open for writing")
	case state == dbfile.NoLock:
		return okay("there is no lock file: DriftDB has not opened this file for writing")
	}
	return okay("free: no program has the database open for writing")
}

func (p *patient) shutdown(context.Context) Finding {
	var err error
	if p.traces, err = foreign.See(p.sight); err != nil {
		return failed("the -wal or -shm cannot be read: "+err.Error(), "check the files' owners and modes")
	}
	if p.lockedBy == "" { // a program may have begun since
		if state, holder, err := p.sight.Lock(); err == nil && state == dbfile.HeldLock {
			p.lockedBy = holder
		}
	}
	switch {
	case p.lockedBy != "" && !p.traces.LeftOpen():
		return notTried(p.lockedBy + " is just opening or closing the database, or restores it; examine it again")
	case p.lockedBy != "" && p.traces.Moved():
		return failed(p.lockedBy+" has another file open than the one that is here now: the file was replaced, and the program's writes go nowhere",
			"close that program; put the file back that it had open, or restore one, and start it again")
	case p.lockedBy != "":
		return okay("the database is in use")
	case p.traces.LostWAL():
		return failed("the -wal that the last program left is gone, and the commits that were only in it", "start the program: what the bucket has of them comes back. Find out what deletes -wal files")
	case p.traces.LeftOpen():
		return warn("the last program that wrote was killed, or the machine lost power (its lock is stale, and counts for nothing)",
			"start the program: it recovers the file by itself, and sends what was not sent")
	case !p.traces.Marked():
		return okay("there is no record of a program with DriftDB")
	}
	return okay("the last program closed the database")
}

func (p *patient) sides(context.Context) Finding {
	var err error
	if p.strange, err = p.sight.Foreign(); err != nil {
		return failed("the files beside the database cannot be examined: "+err.Error(), "check their owners and modes")
	}
	if len(p.strange) > 0 {
		return failed(strings.Join(p.strange, ", ")+" do not belong to this database: SQLite would take them for its own",
			"move them away while no program has the database open; DriftDB does that by itself at the next Open")
	}
	if n, there := p.sight.SideSize("-journal"); there && n > 0 {
		return warn("there is a rollback journal of "+size(n)+": another program was killed in a transaction, or is in one", "open the database with DriftDB or sqlite3: SQLite then takes back what was not committed")
	}
	_, wal := p.sight.SideSize("-wal")
	_, shm := p.sight.SideSize("-shm")
	if !(wal && shm) && p.inUse() {
		return failed("the database is open, but its -wal or -shm is gone: two programs can now write without knowing of each other",
			"close the program at once, and start it again; find out what deletes these files")
	}
	return okay("whatever lies beside the database is its own")
}

// inUse reports whether a program has the database open, and did when its traces were read. A
// program that opens or closes it has the lock, too, but the files beside it come and go then.
func (p *patient) inUse() bool {
	if p.lockedBy == "" || !p.traces.LeftOpen() {
		return false
	}
	state, _, err := p.sight.Lock()
	now, terr := foreign.See(p.sight)
	return err == nil && terr == nil && state == dbfile.HeldLock && now.LeftOpen()
}

func (p *patient) wal(context.Context) Finding {
	n, _ := p.sight.SideSize("-wal")
	if n <= p.cfg.Limits.WAL {
		return okay("the -wal has " + size(n))
	}
	if p.lockedBy == "" {
		return warn(fmt.Sprintf("the -wal has %s, and no program that has the database open to copy it back", size(n)), "start the program, or run: sqlite3 "+p.sight.Path()+" 'PRAGMA wal_checkpoint(TRUNCATE)' and accept a new snapshot")
	}
	return warn(fmt.Sprintf("the -wal has %s, more than %s: a read that stays open keeps it from being copied back", size(n), size(p.cfg.Limits.WAL)),
		"close what reads for long (sql.Rows, ReadTx, an open sqlite3 shell): Metrics.OldestRead says how long; then it shrinks by itself")
}

func (p *patient) leftovers(context.Context) Finding {
	works, replaced, aside := p.sight.Leftovers()
	var found, remedy []string
	if len(works) > 0 {
		found, remedy = append(found, "working folders of programs that were killed: "+strings.Join(works, ", ")), append(remedy, "the next Open removes the working folders")
	}
	if len(aside) > 0 {
		found, remedy = append(found, "files that did not belong to the database and were set aside: "+strings.Join(aside, ", ")), append(remedy, "delete what was set aside when you are sure that nobody misses it")
	}
	if len(found) > 0 {
		return warn(strings.Join(found, "; "), strings.Join(remedy, "; "))
	}
	if len(replaced) > 0 {
		return okay("databases that a restore replaced are kept: " + strings.Join(replaced, ", ") + " (Revert puts the newest one back)")
	}
	return okay("nothing is left of earlier runs")
}
