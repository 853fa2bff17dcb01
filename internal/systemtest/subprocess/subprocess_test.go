package subprocess_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
)

func TestMain(m *testing.M) {
	subprocess.Main()
	os.Exit(m.Run())
}

var says = subprocess.Register("says", func(t testing.TB, args []string) {
	fmt.Println(args, t.Name(), t.Context().Err())
	dir := t.TempDir()
	t.Cleanup(func() {
		_, err := os.Stat(dir)
		fmt.Println("cleans up", err, t.Context().Err())
	})
	if args[0] == "fails" {
		t.Fatalf("because of %d", 7)
	}
	fmt.Println("ends")
})

func TestSubprocess(t *testing.T) {
	out, err := says.Command(t.Context(), "works", "well").CombinedOutput()
	if want := "[works well] says <nil>\nends\ncleans up <nil> context canceled\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q", err, out)
	}
	out, err = says.Command(t.Context(), "fails").CombinedOutput()
	if err == nil || !strings.HasSuffix(string(out), "because of 7\ncleans up <nil> context canceled\n") {
		t.Errorf("%v: %q", err, out)
	}
	out, err = subprocess.Func("unknown").Command(t.Context()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "there is no such function") {
		t.Errorf("%v: %q", err, out)
	}
}
