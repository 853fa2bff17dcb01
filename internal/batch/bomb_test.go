package batch

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

// bomb yields a beginning, and then one byte without end, as a gzip bomb does.
func bomb(beginning string) io.Reader {
	return io.LimitReader(io.MultiReader(strings.NewReader(beginning), endless{}), 4<<30)
}

// TestBomb: a batch that never ends is refused, and costs no more memory than the
// largest that is legal.
func TestBomb(t *testing.T) {
	const header = `{"version":1,"nodeId":"n","epoch":5,"fromSequence":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","entries":[` + "\n"
	const entry = `{"sequence":1,"timestamp":1704067200000,"tx":1,"table":"t","operation":"insert","rowid":1,"data":{"x":"`
	for name, c := range map[string]struct {
		beginning string
		most      uint64 // bytes
	}{
		"no header":      {"", 1 << 20},
		"a long header":  {`{"version":1,"nodeId":"`, 1 << 20},
		"junk":           {header, 1 << 20},
		"junk, entry":    {header + `{"sequence":1,"x`, 1 << 20},
		"a long entry":   {header + entry, 2*MaxEntry + 64<<20},
		"a long trailer": {header + entry + "1\"}}\n" + `],"toSequence":1,"digests":{"`, 2*maxTrailer + 1<<20},
	} {
		if testing.Short() && c.most > 1<<29 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := NewReader(bomb(c.beginning))
			for err == nil {
				_, err = r.Next()
			}
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > c.most {
				t.Errorf("%d MiB allocated in all, at most %d are needed", used>>20, c.most>>20)
			}
		})
	}
}
