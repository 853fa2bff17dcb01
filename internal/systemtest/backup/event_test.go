package backup_test

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestEventRecord: a logger gets scope and kind as attributes, and the place that made
// the event; OnEvent gets them as fields.
func TestEventRecord(t *testing.T) {
	t.Parallel()
	cfg := systemtest.Config(t)
	var out bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{AddSource: true}))
	told := systemtest.Listen(&cfg)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	systemtest.Check(t, db.Shutdown(t.Context()))
	e := told.Wait(t, driftdb.EventEpochTaken)
	if e.Scope != driftdb.ScopeSync || e.Message == "" || e.Level != slog.LevelInfo || e.Attrs["epoch"] == nil || e.Attrs["kind"] != nil || e.Attrs["scope"] != nil {
		t.Errorf("told: %+v", e)
	}
	told.Mu.Lock()
	defer told.Mu.Unlock()
	for _, e := range told.List {
		if e.Kind == "" || !strings.HasPrefix(string(e.Kind), string(e.Scope)+".") {
			t.Errorf("told: %+v", e)
		}
	}
	if said := out.String(); !regexp.MustCompile(`source=\S*syncer/\w+\.go:\d+ msg="acquired an epoch" scope=sync kind=sync.epoch_taken epoch=`).MatchString(said) {
		t.Errorf("logged: %s", said)
	}
}

// TestEventsOfATakeover: both nodes are told, each of its part.
func TestEventsOfATakeover(t *testing.T) {
	t.Parallel()
	cfg := systemtest.Config(t)
	told := systemtest.Listen(&cfg)
	first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Some(t, first, "t", 3)
	systemtest.Check(t, first.Flush(t.Context()))
	told.Wait(t, driftdb.EventBatchUploaded)

	next := cfg
	next.Path, next.AutoRestore = filepath.Join(t.TempDir(), "next.sqlite"), true
	heard := systemtest.Listen(&next)
	second := systemtest.Open(t, next)
	heard.Wait(t, driftdb.EventRestoreStarted)
	heard.Wait(t, driftdb.EventRestored)
	systemtest.Some(t, second, "t", 1)
	systemtest.Check(t, second.Flush(t.Context()))
	if e := heard.Wait(t, driftdb.EventTakenOver); e.Attrs["node"] != first.NodeID() {
		t.Errorf("told: %+v", e)
	}

	systemtest.Some(t, first, "t", 1)
	if err := first.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
		t.Errorf("the first one flushes: %v", err)
	}
	if e := told.Wait(t, driftdb.EventFenced); e.Level != slog.LevelError {
		t.Errorf("told: %+v", e)
	}
	told.Wait(t, driftdb.EventBranchStored)
	told.Mu.Lock()
	defer told.Mu.Unlock()
	if slices.ContainsFunc(told.List, func(e driftdb.Event) bool { return e.Kind == driftdb.EventTakenOver }) {
		t.Error("the first one is told that it took over")
	}
}
