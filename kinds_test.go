package driftdb_test

import (
	"slices"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/restore"
)

// TestEnumerations compares the public constants with the words of the packages below,
// which are converted as they are.
func TestEnumerations(t *testing.T) {
	t.Parallel()
	operations := map[change.Op]driftdb.Operation{
		change.Insert: driftdb.OperationInsert, change.Update: driftdb.OperationUpdate, change.Delete: driftdb.OperationDelete,
		change.Schema: driftdb.OperationSchema, change.Barrier: driftdb.OperationBarrier,
	}
	for op := change.Insert; op.String() != change.Op(0).String(); op++ {
		if got := operations[op]; string(got) != op.String() {
			t.Errorf("operation %s has the constant %q", op, got)
		}
	}
	inside := []restore.Stage{restore.Fetching, restore.Replaying, restore.Checking}
	stages := []driftdb.Stage{driftdb.StageSnapshot, driftdb.StageReplay, driftdb.StageCheck}
	if !slices.EqualFunc(inside, stages, func(a restore.Stage, b driftdb.Stage) bool { return string(a) == string(b) }) {
		t.Errorf("stages %q have the constants %q", inside, stages)
	}
}
