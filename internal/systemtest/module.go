package systemtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ModuleRoot returns the folder of this module's go.mod: the nearest one from the working
// folder upwards. Tests run in their package's folder.
func ModuleRoot() (string, error) {
	folder, err := os.Getwd()
	for err == nil {
		if _, err = os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		if parent := filepath.Dir(folder); os.IsNotExist(err) && parent != folder {
			folder, err = parent, nil
		}
	}
	return "", err
}

// ReadDoc returns the text of a file of the module, with Unix line ends.
func ReadDoc(t testing.TB, name string) string {
	t.Helper()
	root, err := ModuleRoot()
	Check(t, err)
	text, err := os.ReadFile(filepath.Join(root, name))
	Check(t, err)
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}
