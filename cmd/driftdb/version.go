package main

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release and commit are set by the linker (-X main.release=v1.2.3) where the build
// cannot see the repository: in a container, or in a distribution's package.
var release, commit string

// build describes how this program was built.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild prefers the linker's values to those that Go records.
func thisBuild() build {
	b := build{Version: release, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "(devel)" {
			b.Version = cmp.Or(b.Version, info.Main.Version)
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = cmp.Or(b.Commit, s.Value)
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	b.Version = cmp.Or(b.Version, "devel")
	return b
}

// String formats the build on one line.
func (b build) String() string {
	s := "driftdb " + b.Version
	if b.Commit != "" {
		s += " " + b.Commit[:min(12, len(b.Commit))]
	}
	if b.Modified {
		s += " modified"
	}
	return s + " (" + b.Go + ", " + b.Platform + ")"
}

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Long: `Print the version of this program, the commit it was built from, and the version
of Go. A build from a clone without a tag is "devel", or a version that Go
derives from the commit. --version prints the same line.

With --json the result is {"version", "commit", "modified", "go", "platform"};
"commit" is left out if it is unknown, "modified" unless it is true.`,
	}
	return a.command(c, func(context.Context, []string) error {
		b := thisBuild()
		return a.report(b, "%s\n", b)
	})
}
