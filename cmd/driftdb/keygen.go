package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func (a *app) keygenCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "keygen [--out FILE]",
		Short: "Make a random encryption key",
		Long: `Make a random encryption key of 64 hex digits, and print it or write it to a new
FILE that only this user can read. Keep it in a second place: without the key
nobody can read the backup, and nobody can make the key again.

  driftdb keygen --out driftdb.key
  driftdb backup app.db --store URL --key-file driftdb.key

With --json the result is {"key"}, or {"file"} with --out.`,
	}
	c.Flags().StringVar(&out, "out", "", "`FILE` to create, with mode 0600")
	return a.command(c, func(context.Context, []string) error { return a.runKeygen(out) })
}

func (a *app) runKeygen(out string) error {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // it never fails
	key := hex.EncodeToString(raw[:])
	if out == "" {
		return a.report(struct {
			Key string `json:"key"`
		}{key}, "%s\n", key)
	}
	if err := createKeyFile(out, key); err != nil {
		return err
	}
	return a.report(struct {
		File string `json:"file"`
	}{out}, "%s has a new key; keep a copy of it in a second place, and pass it with --key-file\n", out)
}

// createKeyFile never replaces a file: it might have the only copy of a key.
func createKeyFile(path, key string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hinted{fmt.Errorf("%s already exists", path), "choose another file; a key that is lost makes its backups unreadable"}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(key + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
