// Command site makes the web site of DriftDB: the README, the pages of docs and the other
// documents, as HTML with a navigation. The pages need no JavaScript and load nothing from
// elsewhere. Run it in its own folder:
//
//	go run . [-out FOLDER]   writes public, or FOLDER
package main

import (
	"flag"
	"fmt"
	"os"
)

// root is the repository, relative to this folder.
const root = ".."

func main() {
	out := flag.String("out", "public", "the folder to write")
	flag.Parse()
	n, err := build(root, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
	fmt.Printf("%d pages in %s\n", n, *out)
}
