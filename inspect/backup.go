package inspect

import (
	"fmt"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go"
)

// listed is how many snapshots, sessions and branches the overview has, the newest ones.
const listed = 20

// backupBody is the overview of a backup.
type backupBody struct {
	summary
	Sequence  int64 // of the last change that is known
	Unsent    int64 // of an open database
	Metrics   *driftdb.Metrics
	Snapshots []snapshotView // newest first
	Writers   []writerView   // newest first
	Branches  []branchView
	Hidden    hidden
	Timeline  timelineView
	Changes   chart
	Bytes     chart
	Forks     []forkView
}

// hidden counts what the overview leaves out.
type hidden struct{ Snapshots, Writers, Branches int }

type snapshotView struct {
	driftdb.SnapshotInfo
	Tables string // link
}

type writerView struct {
	driftdb.WriterInfo
	TakeOver bool // from another node
	Log      string
}

type branchView struct {
	driftdb.BranchInfo
	Command string
}

type forkView struct {
	Name, Link string
	Sequence   int64 // at which it began; 0: not known
}

// backupPage is the overview of a backup.
func (h *Handler) backupPage(v *visit) (*view, error) {
	info, err := v.backup.Info(v.ctx)
	if err != nil {
		return nil, err
	}
	batches, err := v.backup.Batches(v.ctx)
	if err != nil {
		return nil, err
	}
	b := backupBody{summary: h.summary(v.ctx, v.name), Sequence: info.Sequence}
	b.Info, b.Health = info, judge(info, nil)
	if v.db != nil {
		m := v.db.Metrics()
		b.Metrics, b.Unsent, b.Sequence = &m, m.PendingChanges, m.LatestSequence
	}
	b.Snapshots, b.Hidden.Snapshots = v.snapshots(info)
	b.Writers, b.Hidden.Writers = v.writers(info)
	b.Branches, b.Hidden.Branches = v.branches(info)
	b.Forks = v.forks(info)
	end := info.Sequence
	for _, o := range batches {
		end = max(end, o.To)
	}
	b.Timeline = timelineView{Base: v.link("timeline")}
	b.Timeline.Lines = draw(v, timelineInput{info: info, batches: batches, forks: b.Forks, from: info.First, to: max(end, info.First), least: info.First, most: max(end, info.First)})
	b.Changes, b.Bytes = overTime(batches, info, time.Now())
	return &view{template: "backup", Title: v.name, Tab: "Overview", Body: b, Commands: []command{
		v.command("Restore the latest state to a new file", "restore", "--out", "FILE"),
		v.command("Restore the state after a change, or at a time", "restore", "--at", "POINT", "--out", "FILE"),
		v.command("Prove that it can be restored", "verify"),
		v.command("Print this", "status"),
		v.command("Ask what was there at a time", "query", "--at", "2h ago", "SELECT …"),
		v.command("Begin a new database at this point", "fork", "NEW"),
	}}, nil
}

func (v *visit) snapshots(info driftdb.BackupInfo) (out []snapshotView, more int) {
	for _, s := range slices.Backward(info.Snapshots) {
		if len(out) == listed {
			return out, len(info.Snapshots) - listed
		}
		view := snapshotView{SnapshotInfo: s}
		if s.Sequence > 0 {
			view.Tables = v.link("tables", "at", fmt.Sprint(s.Sequence))
		}
		out = append(out, view)
	}
	return out, 0
}

func (v *visit) writers(info driftdb.BackupInfo) (out []writerView, more int) {
	for i, w := range slices.Backward(info.Writers) {
		if len(out) == listed {
			return out, i + 1
		}
		view := writerView{WriterInfo: w, TakeOver: i > 0 && info.Writers[i-1].NodeID != w.NodeID}
		if w.To > 0 {
			view.Log = v.link("log", "to", fmt.Sprint(w.To))
		} else {
			view.Log = v.link("log")
		}
		out = append(out, view)
	}
	return out, 0
}

func (v *visit) branches(info driftdb.BackupInfo) (out []branchView, more int) {
	for _, b := range slices.Backward(info.Branches) {
		if len(out) == listed {
			return out, len(info.Branches) - listed
		}
		out = append(out, branchView{b, v.command("", "restore", "--branch", b.ID, "--out", "FILE").Text})
	}
	return out, 0
}

// forks are the databases that began at a point of this one, as far as they still use its
// objects, and where that was.
func (v *visit) forks(info driftdb.BackupInfo) (out []forkView) {
	for _, name := range info.Held.Forks {
		if len(out) == listed {
			break
		}
		f := forkView{Name: name}
		if !v.h.source.single() {
			f.Link = v.h.link(name, "")
			if t, err := v.h.source.open(v.ctx, name); err == nil {
				if fork, err := t.backup.Info(v.ctx); err == nil && fork.Fork != nil && fork.Fork.DatabaseID == info.DatabaseID {
					f.Sequence = fork.Fork.Sequence
				}
			}
		}
		out = append(out, f)
	}
	return out
}
