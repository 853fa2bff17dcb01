package scale_test

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
)

// Tests of memory run their phases in processes of their own, so that each has
// a peak of its own.

// report is what a phase has found out.
type report struct {
	Peak     int64                    // of resident memory, in bytes; 0 where the system does not tell
	Took     time.Duration            // the phase's own work
	WAL      int64                    // the largest WAL that was seen, in bytes
	Latency  map[string]time.Duration `json:",omitempty"`
	Checksum string                   `json:",omitempty"` // of the database's rows
	Stages   []stage                  `json:",omitempty"`
}

// runPhase runs a phase in a process of its own.
func runPhase(t *testing.T, name, dir string, size int64) report {
	t.Helper()
	out, err := phase.Command(t.Context(), name, dir, strconv.FormatInt(size, 10)).CombinedOutput()
	if err != nil {
		t.Fatalf("phase %s: %v\n%s", name, err, out)
	}
	_, line, ok := bytes.Cut(out, []byte(reportMark))
	var r report
	if !ok {
		t.Fatalf("phase %s reports nothing:\n%s", name, out)
	}
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&r); err != nil {
		t.Fatalf("phase %s: %v\n%s", name, err, out)
	}
	return r
}

const reportMark = "report of the phase: "

// phase runs one of phases, and reports.
var phase = subprocess.Register("phase", func(t testing.TB, args []string) {
	size, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	phases[args[0]](t, &r, args[1], size)
	if t.Failed() {
		return
	}
	r.Peak = peakMemory(t)
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s%s", reportMark, line)
})

// peakMemory is the most memory that this process has had resident.
func peakMemory(t testing.TB) int64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// wantPeak fails if a phase took more memory.
func wantPeak(t *testing.T, what string, r report, limit int64) {
	t.Helper()
	if r.Peak > limit {
		t.Errorf("%s had %d MiB resident, %d MiB is the limit", what, r.Peak>>20, limit>>20)
	}
}
