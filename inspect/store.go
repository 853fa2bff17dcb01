package inspect

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go"
)

const (
	storeRows   = 50               // backups on a page
	storeAtOnce = 8                // requests for them
	storeWait   = 10 * time.Second // for one backup; the others are shown without it
)

// storeBody is the page of all backups.
type storeBody struct {
	Backups  []summary
	Total    int
	Filter   string
	From     int
	More     string
	Previous string
}

// summary is a backup in a list.
type summary struct {
	Name     string
	Link     string
	Health   health
	Info     driftdb.BackupInfo
	Snapshot time.Time // the newest
	Verified time.Time
	Through  int64 // the change up to which it was verified
	Depth    []int // one for each fork above it
}

// health is what is worth a look at a backup.
type health struct {
	Level string // good, fair or bad
	Text  string
}

// judge says how a backup is.
func judge(info driftdb.BackupInfo, err error) health {
	switch {
	case errors.Is(err, driftdb.ErrNoBackup):
		return health{"fair", "nothing restorable yet"}
	case errors.Is(err, driftdb.ErrKey):
		return health{"bad", "the key is wrong or missing"}
	case errors.Is(err, driftdb.ErrVersion):
		return health{"bad", "a newer version wrote it"}
	case errors.Is(err, driftdb.ErrCorrupt):
		return health{"bad", "damaged: " + shorten(err.Error(), 300)}
	case err != nil:
		return health{"bad", "cannot be read: " + shorten(err.Error(), 300)}
	}
	if n := len(info.Snapshots); n > 0 && len(info.Snapshots[n-1].Faults) > 0 {
		return health{"fair", plural(len(info.Snapshots[n-1].Faults), "fault", "faults") + " in the database"}
	}
	if n := len(info.Branches); n > 0 {
		return health{"fair", plural(n, "branch", "branches") + " left by a take-over"}
	}
	return health{"good", "sound"}
}

// storePage lists the backups. If there can be one only, it goes there.
func (h *Handler) storePage(v *visit) (*view, error) {
	names, err := h.source.names(v.ctx)
	if err != nil {
		return nil, err
	}
	if h.source.single() && len(names) == 1 {
		return &view{moved: h.link(names[0], "")}, nil
	}
	b := storeBody{Filter: v.URL.Query().Get("filter"), Total: len(names)}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(strings.ToLower(name), strings.ToLower(b.Filter)) })
	slices.Sort(names)
	from := 0
	if after := v.URL.Query().Get("after"); after != "" {
		from, _ = slices.BinarySearch(names, after+"\x00")
		b.Previous = h.o.Path + "/"
	}
	shown := names[from:min(len(names), from+storeRows)]
	if from+storeRows < len(names) {
		b.More = h.o.Path + "/?" + encode("after", shown[len(shown)-1], "filter", b.Filter)
	}
	b.From = from
	b.Backups = under(h.summaries(v.ctx, shown))
	return &view{template: "store", Title: "Backups", Commands: []command{v.command("List them", "status")}, Body: b}, nil
}

// summaries reads several backups at a time.
func (h *Handler) summaries(ctx context.Context, names []string) []summary {
	out := make([]summary, len(names))
	free := make(chan struct{}, storeAtOnce)
	var all sync.WaitGroup
	for i, name := range names {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(ctx, storeWait)
			defer cancel()
			out[i] = h.summary(ctx, name)
		})
	}
	all.Wait()
	return out
}

func (h *Handler) summary(ctx context.Context, name string) summary {
	s := summary{Name: name, Link: h.link(name, "")}
	t, err := h.source.open(ctx, name)
	if err == nil {
		s.Info, err = t.backup.Info(ctx)
	}
	if s.Health = judge(s.Info, err); err != nil {
		return s
	}
	if n := len(s.Info.Snapshots); n > 0 {
		s.Snapshot = s.Info.Snapshots[n-1].Time
	}
	if h.o.Verified != nil {
		s.Through, s.Verified = h.o.Verified(s.Info)
	}
	return s
}

// under puts each fork below the database that it came from, if that is on the page.
func under(list []summary) (out []summary) {
	have := map[string]bool{}
	for _, s := range list {
		have[s.Info.DatabaseID] = s.Info.DatabaseID != ""
	}
	done := map[string]bool{}
	var add func(s summary, depth int)
	add = func(s summary, depth int) {
		if done[s.Name] {
			return
		}
		done[s.Name], s.Depth = true, make([]int, depth)
		out = append(out, s)
		for _, f := range list {
			if f.Info.Fork != nil && s.Info.DatabaseID != "" && f.Info.Fork.DatabaseID == s.Info.DatabaseID {
				add(f, depth+1)
			}
		}
	}
	for _, s := range list {
		if s.Info.Fork == nil || !have[s.Info.Fork.DatabaseID] {
			add(s, 0)
		}
	}
	for _, s := range list {
		add(s, 0) // no database comes from itself, but a stranger may have written so
	}
	return out
}
