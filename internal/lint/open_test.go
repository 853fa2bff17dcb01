package lint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// opensItself lists the functions that call driftdb.Open and not systemtest.Open, which
// compares a restore with the database when the test ends, and why.
var opensItself = map[string]string{
	"Open":                           "is the one that compares",
	"liar.open":                      "TestLies restores, and looks at what it was told is there",
	"RestoreAndCompare":              "is how it compares",
	"model.open":                     "TestModel compares, and more than once",
	"TestARowWrittenWhileSyncIsDown": "without a store, and then with open",
	"openAndClose":                   "is beside what strangers have put there, where most fail",
	"restoredRows":                   "looks at what was restored",
	"runRival":                       "is another process; TestStoppedWriter compares",
	"rival.open":                     "rivals fight for one name, and are compared by every row",
	"machine.start":                  "TestSchedules and TestEveryStep compare, and more than once",
	"afterKill":                      "compares after each kill",
	"newAttacked":                    "its bucket is attacked in TestAttacks, which compares",
	"attacked.run":                   "its bucket is attacked in TestAttacks, which compares",
	"newPair":                        "its bucket is what an attacker looks at; the first one is verified",
	"fillPair":                       "its bucket is what an attacker looks at; the first one is verified",
	"testAttack":                     "its bucket is attacked, and compared where that is possible",
	"catchUp":                        "its bucket was attacked; TestAttacks looks at the rows",
	"wholeRows":                      "looks at a file, without a store",
	"world.open":                     "TestWorlds compares, and more than once",
	"world.goOn":                     "TestEveryStep compares the moment after each death",
	"faultyRun":                      "its store fails; the same file is opened again with one that works",
	"ReadOnly":                       "only reads, and sends nothing",
	"TestOldDisk":                    "the disk has diverged, and is refused or detached",
	"TestHeadless":                   "nothing is opened",
	"openOnce":                       "TestNothingSaidTwice makes it fail",
	"OpenError":                      "fails",
	"openWithFiles":                  "fails for want of files",
	"TestRefusalIsHeard":             "its bucket refuses everything",
	"TestUnaskedIsBrief":             "its bucket refuses everything",
	"repaired":                       "opens what has diverged, in vain",
	"TestRefusals":                   "nothing is opened",
	"TestMemoryConfig":               "nothing is opened",
	"connectionRun":                  "only its memory counts",
	"undoRun":                        "measures, in a process of its own, and has no store",
	"newWorld":                       "TestUndoModel and TestUndoConflicts compare states of the file",
	"memoryRun.do":                   "measures, in a process of its own, and has no store",
	"TestCloseInterruptsFlush":       "its store hangs",
	"snapshotBig":                    "measures, in a process of its own, and compares",
	"bigTransaction":                 "measures, in a process of its own, and compares",
	"fillWide":                       "measures, in a process of its own, and compares",
	"fillUsers":                      "measures, in a process of its own",
	"neighbour":                      "is another process, and may be killed",
	"waitInSnapshot":                 "is another process, and is killed",
	"TestBypassWhileClosed":          "leaves the file to others, and opens it again",
	"TestBypassOtherFiles":           "gives the file another name",
	"TestBranchLater":                "it is fenced, by one whose bucket is whole",
	"waitTakeover":                   "it is fenced, by one whose bucket is whole",
	"testBackup":                     "its bucket is given another key; it is verified with that",
	"TestRekeyForeign":               "is shut down before its bucket has another key",
	"TestLeakedKey":                  "is shut down before it is opened again with another key",
	"TestRekeyBranch":                "is shut down before it is opened again with another key",
	"TestDamagedSnapshot":            "its backup is taken apart",
	"TestRefuseTakeover":             "it is refused",
	"promoteAgain":                   "it is refused: it is a follower's",
	"TestAdoptDamaged":               "its database is damaged; it compares that, too",
	"TestSourceFaults":               "its databases are not sound; it compares that, too",
	"TestLaterFaults":                "compares sources that have faults",
	"TestOpenBarrier":                "its store fails; the database is opened again with one that works",
	"TestUnconditionalStore":         "its store is refused",
	"TestUnconditionalTakeover":      "its store is refused",
	"TestCatchUpCutOff":              "it is refused",
	"TestBlackHole":                  "its store does not answer",
	"TestContestedMeanwhile":         "it only gets the file, and opens it again",
	"TestCloseWhileUploadHangs":      "its store does not answer",
	"TestReaders":                    "they only read",
	"TestShortSessionsOffline":       "its store does not answer, and is restored at the end",
	"shortSession":                   "it is short; who calls it restores the store",
	"runVersion":                     "it is a process of many; the store is restored at the end",
	"TestRekey":                      "it is opened again with another key, which the comparison needs",
	"TestRepairKeys":                 "is shut down before it is opened again with another key",
	"TestCanary":                     "is shut down before it is opened again with another key",
	"openAndFlush":                   "it is refused",
	"s3Refusals":                     "there is no bucket to restore from",
	"BenchmarkLogBytes":              "a benchmark",
	"BenchmarkTables":                "a benchmark",
	"onServer":                       "a benchmark",
	"waiting.dieHalfWay":             "dies with a change that is its own; the next one compares",
	"TestUnconditionalFence":         "is refused by the store that it is about",
	"writesUntilKilled":              "is another process, and is killed",
	"backedUp":                       "a benchmark",
	"TestImportWAL":                  "measures, and compares",
	"TestAutoRestore":                "nothing is opened",
	"TestCatchUp":                    "the file is opened again by somebody else, or diverges",
	"TestMalformed":                  "the file is damaged",
	"TestMalformedWithoutOwnTables":  "the file is damaged",
	"TestCatchUpByRestore":           "the file diverges",
	"benchDB":                        "a benchmark, without a store",
	"memory":                         "examples without a store",
	"openLoad":                       "its rounds close it, and it compares at the end",
	"Example":                        "examples show what a user writes, and print it",
	"adoptFile":                      "a guide's code, which is only compiled",
	"replaceDriver":                  "a guide's code, which is only compiled",
	"openMemory":                     "a guide's code, which is only compiled",
	"clocks.session":                 "TestClocks compares, and more than once",
}

// TestOpenCompares: no test forgets to prove its backup.
func TestOpenCompares(t *testing.T) {
	files := systemTests(t)
	found := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			who := declName(decl)
			if !callsOpen(decl) {
				continue
			}
			found[who] = true
			if opensItself[who] == "" {
				t.Errorf("%s: %s calls driftdb.Open; use systemtest.Open, which compares at the end, or say in the table why not", name, who)
			}
		}
	}
	for _, who := range slices.Sorted(maps.Keys(opensItself)) {
		if !found[who] {
			t.Errorf("%s is in the table, but does not call driftdb.Open", who)
		}
	}
}

// systemTests are the files with tests of the whole system, and their helpers.
func systemTests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	systemtest.Check(t, err)
	for _, folder := range []string{"internal/lint", "internal/systemtest"} {
		err := filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".go") {
				files = append(files, name)
			}
			return err
		})
		systemtest.Check(t, err)
	}
	return files
}

// declName is the name of a function, with its receiver's; one for all examples; and of a
// variable, which may be a function of a subprocess.
func declName(decl ast.Decl) string {
	f, ok := decl.(*ast.FuncDecl)
	if !ok {
		for _, spec := range decl.(*ast.GenDecl).Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				return v.Names[0].Name
			}
		}
		return ""
	}
	name := f.Name.Name
	if f.Recv != nil {
		if p, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
			return p.X.(*ast.Ident).Name + "." + name
		}
	}
	if strings.HasPrefix(name, "Example") {
		return "Example"
	}
	return name
}

func callsOpen(decl ast.Decl) (calls bool) {
	ast.Inspect(decl, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Open" {
				pkg, ok := s.X.(*ast.Ident)
				calls = calls || ok && pkg.Name == "driftdb"
			}
		}
		return true
	})
	return calls
}
