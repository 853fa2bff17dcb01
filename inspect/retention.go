package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
)

// garbageListed is how many objects the page lists, the largest ones.
const garbageListed = 200

// retentionBody is the page of what a garbage collection would delete.
type retentionBody struct {
	Days    string
	Action  string
	Objects []driftdb.GarbageObject
	Total   int
	Bytes   int64
	Why     []reasonCount
	Oldest  time.Time // of the snapshots that stay named
	From    int64
	Held    driftdb.HeldForForks
	Until   time.Time // every point from here on stays restorable
}

type reasonCount struct {
	Why     string
	Objects int
	Bytes   int64
}

// retentionPage shows what a garbage collection would delete.
func (h *Handler) retentionPage(v *visit) (*view, error) {
	window := h.o.Retention
	days := strings.TrimSpace(v.URL.Query().Get("days"))
	if days != "" {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 36500 {
			return nil, bad("days is %s, and should be a number from 1 to 36500", quoted(shorten(days, 50)))
		}
		window = time.Duration(n) * 24 * time.Hour
	}
	info, err := v.backup.Info(v.ctx)
	if err != nil {
		return nil, err
	}
	garbage, err := v.backup.Garbage(v.ctx, window)
	if err != nil {
		return nil, err
	}
	b := retentionBody{Action: v.link("retention"), Total: len(garbage), From: info.First, Held: info.Held}
	if len(info.Snapshots) > 0 {
		b.Oldest = info.Snapshots[0].Time
	}
	text := ""
	if window > 0 {
		b.Days, b.Until = strconv.FormatInt(int64((window+12*time.Hour)/(24*time.Hour)), 10), time.Now().Add(-window)
		text = fmt.Sprintf("%dh", int64(window/time.Hour))
		if window%(24*time.Hour) == 0 {
			text = b.Days + "d"
		}
	}
	index := map[string]int{}
	for _, g := range garbage {
		i, known := index[g.Why]
		if !known {
			i = len(b.Why)
			index[g.Why], b.Why = i, append(b.Why, reasonCount{Why: g.Why})
		}
		b.Bytes, b.Why[i].Objects, b.Why[i].Bytes = b.Bytes+g.Size, b.Why[i].Objects+1, b.Why[i].Bytes+g.Size
	}
	slices.SortFunc(garbage, func(x, y driftdb.GarbageObject) int { return cmp.Compare(y.Size, x.Size) })
	b.Objects = garbage[:min(len(garbage), garbageListed)]
	words := []string{"--dry-run"}
	if text != "" {
		words = append(words, "--retention", text)
	}
	return &view{template: "retention", Title: "Retention", Tab: "Retention", Body: b, Commands: []command{v.command("List it", "gc", words...)}}, nil
}
