package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/terminal"
)

// TestHelp: each command is in the README, and its help fits a terminal and
// names its flags in its usage line.
func TestHelp(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range (&app{stdout: terminal.New(io.Discard)}).root().Commands() {
		if !strings.Contains(string(readme), "\n| `driftdb "+c.Name()+"` | ") {
			t.Errorf("%s is not in the README's table of commands", c.Name())
		}
		if len(c.Short) > 66 { // the list of commands has 14 characters before it
			t.Errorf("%s: this is longer than 66 characters: %s", c.Name(), c.Short)
		}
		for line := range strings.Lines(c.Long) {
			if len([]rune(strings.TrimSuffix(line, "\n"))) > 80 {
				t.Errorf("%s: this line of the help is longer than 80 characters: %s", c.Name(), line)
			}
		}
		for _, flag := range strings.FieldsFunc(c.LocalFlags().FlagUsages(), func(r rune) bool { return r == ' ' || r == '\n' }) {
			if strings.HasPrefix(flag, "--") && !strings.Contains(c.Use, flag) && c.LocalFlags().Lookup(flag[2:]) != nil {
				t.Errorf("%s: flag %s is not in its usage line", c.Name(), flag)
			}
		}
	}
}
