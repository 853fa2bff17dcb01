package lint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// clockUsers are the functions of tests that sleep, or measure time, and the reasons. The
// clock may be that of a bubble of synctest's: a call inside synctest.Test needs no entry,
// but one in a function that is called there does.
var clockUsers = map[string][]string{
	"called in a bubble only, or in one whenever it waits": {
		"backup/maintain_test.go Delete", "backup/snapshot_beside_test.go promptly", "damage/attack_test.go testAttack",
		"faults/clocks_test.go clocks.sleep", "damage/distinguish_test.go fillPair", "faults/faults_test.go schedule.sleep",
		"faults/faults_machine_test.go machine.define", "faults/faults_machine_test.go machine.waitSynced",
		"faults/faults_world_test.go world.checkBranches", "faults/faults_world_test.go world.mayMiss", "faults/steps_test.go camera.story",
		"file/catchup_test.go TestCatchUpByRestore", "follow/pace_test.go TestWaitAsks", "follow/pace_test.go pass", "forks/worlds_test.go world.collect", "forks/worlds_test.go world.settle", "heartbeat/heartbeat_test.go service.RoundTrip", "writers/writers_contest_test.go contest.check",
		"writers/writers_contest_test.go rival.do", "writers/writers_contest_test.go rival.tick", "writer/turn_test.go claims",
	},
	"is an example, and its Go code that of a page in docs": {"example_consume_test.go authentic"},
	"is how tests wait for a condition":                     {"internal/systemtest/wait.go Eventually"},
	"a moment that nobody has chosen, and the test holds whatever it is": {
		"cmd/driftdb/deliver_test.go TestWebhookKilled", "consume/kill_test.go killConsumer",
		"file/child_test.go child", "file/close_inside_test.go TestWaitingIsNoError", "file/close_load_test.go TestCloseLeavesNoDoubt",
		"file/close_load_test.go TestCloseUnderLoad", "file/close_test.go TestCloseDuringTx", "file/close_test.go TestCloseInterrupts",
		"file/close_test.go TestCloseWhileOthersHoldTheLock", "scale/rolling_test.go version.waits", "worldtest/matrix_test.go world.doze",
		"capture/connector_test.go TestConnectorRace", "capture/connector_test.go TestTakeBackWaits",
		"faults/faults_disk_linux_test.go full.roomAgain", "objstore/mount_test.go TestDirMountRace",
	},
	"another process, which waits for a file or holds a pace": {
		"file/child_test.go neighbour", "worldtest/child_test.go child.insert", "scale/rolling_test.go runVersion", "scale/readers_test.go TestReaders",
		"consume/kill_test.go consumeUntilKilled", "sqlite/snapshot_test.go TestRival", "sqlite/snapshot_test.go TestSnapshotFresh",
	},
	"a store of a test's that is as slow as a network, or a writer that never stops": {
		"writers/takeover_test.go Delete", "writers/takeover_test.go Get", "writers/takeover_test.go List", "writers/takeover_test.go Put",
		"writers/takeover_test.go takeover.run", "writers/promote_test.go promotion.run", "foreign/watch_test.go replaced",
	},
	"logs how long something took, and fails for nothing of it": {
		"inspect/scale_test.go TestLogPage",
		"cmd/driftdb/kill_resolve_test.go TestKillResolve", "cmd/driftdb/kill_test.go TestKill", "worldtest/mount_linux_test.go killAtEachCall",
		"disktest/faults_test.go TestFaults", "disktest/powerloss_test.go loss.run",
		"file/close_test.go closeSoon", "backup/unasked_test.go TestRefusalIsHeard", "scale/session_test.go TestManySessions",
		"scale/tables_test.go TestSchemaNeverStill",
	},
	"is a measurement, of a size that make sets": {
		"scale/big_test.go TestImportWAL", "scale/lag_test.go lag.look", "scale/lag_test.go lag.measure", "scale/big_test.go bigTransaction", "scale/big_test.go restoreBig", "scale/big_test.go snapshotBig",
		"scale/big_test.go updateUntil", "scale/diff_linux_test.go TestDiffMemory", "scale/economy_test.go TestBulkLoad", "scale/memory_test.go memoryRun.do",
		"scale/memory_test.go memoryRun.readAll", "undo/memory_test.go undoRun", "scale/restorebench_test.go restoreUsers", "scale/bench_backup_test.go plainInserts",
		"scale/bench_backup_test.go timeCopy", "scale/bench_repository_test.go sideBySide", "capture/shapes_bench_test.go timeShape",
		"sqlite/table_cost_test.go cost", "syncer/bench_test.go rest", "scale/bench_waitsynced_test.go waitFor",
	},
	"an end that must come: the bound is a multiple of what a busy machine takes": {
		"cmd/driftdb/main_test.go scriptCommands", "capture/trap_test.go traps", "restore/forged_fuzz_test.go FuzzForged",
		"restore/forged_test.go TestForgedInTime", "sqlite/busy_test.go TestInterruptEndsWaiting", "sqlite/loan_test.go TestLoanInterrupts",
		"objstore/mount_test.go TestDirObjectInUse", "objstore/s3store/errors_test.go TestUnreachable", "objstore/s3store/wire_test.go TestIdleTimeout",
	},
}

// TestNoWallClock: tests neither sleep on the wall clock nor bound what it measures. They
// wait for conditions (systemtest.Eventually), or live in a bubble of testing/synctest.
// Benchmarks measure.
func TestNoWallClock(t *testing.T) {
	allowed := map[string]bool{} // and whether it was found
	for _, users := range clockUsers {
		for _, user := range users {
			allowed[user] = false
		}
	}
	systemtest.Check(t, filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		name = filepath.ToSlash(name)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return enter(name)
		case !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "internal/systemtest/"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if what := wallClock(decl); what != "" && !strings.HasPrefix(declName(decl), "Benchmark") {
				user := name + " " + declName(decl)
				known := false
				for entry := range allowed {
					if strings.HasSuffix(user, "/"+entry) || user == entry {
						allowed[entry], known = true, true
					}
				}
				if !known {
					t.Errorf("%s: %s calls time.%s; wait for a condition with systemtest.Eventually, use synctest, or say in the table why not", name, declName(decl), what)
				}
			}
		}
		return nil
	}))
	for user, found := range allowed {
		if !found {
			t.Errorf("%s is in the table, and does not ask the clock", user)
		}
	}
}

// wallClock is what a declaration calls of time.Sleep and time.Since outside a bubble of
// synctest's; "" is neither.
func wallClock(decl ast.Decl) (found string) {
	ast.Inspect(decl, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		s, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, _ := s.X.(*ast.Ident)
		switch {
		case pkg == nil:
		case pkg.Name == "synctest" && s.Sel.Name == "Test":
			return false
		case pkg.Name == "time" && (s.Sel.Name == "Sleep" || s.Sel.Name == "Since"):
			found = s.Sel.Name
		}
		return true
	})
	return found
}
