package lint_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestMain runs the tests at the module's root: all names of files here begin there.
func TestMain(m *testing.M) {
	root, err := systemtest.ModuleRoot()
	if err == nil {
		err = os.Chdir(root)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	systemtest.Main(m)
}
