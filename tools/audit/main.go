// Command audit checks the modules that come with DriftDB: their licences, and whether
// DriftDB's code reaches a known vulnerability in them. Run it in its own folder:
//
//	go run . [-vulndb VERSION]   checks both
//	go run . -write              writes THIRD_PARTY.md
//	go run . -texts              prints the licences
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
)

// root is the module to check, relative to this one's folder.
const root = "../.."

func main() {
	write := flag.Bool("write", false, "write "+list)
	texts := flag.Bool("texts", false, "print the licences of all modules")
	version := flag.String("vulndb", pinned, "the version of the vulnerability database; latest for the newest")
	flag.Parse()
	if err := run(context.Background(), *write, *texts, *version); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, write, texts bool, version string) error {
	switch {
	case texts:
		return printTexts(ctx)
	case write:
		return auditLicences(ctx, true)
	}
	return errors.Join(auditLicences(ctx, false), auditVulnerabilities(ctx, version))
}
