package driftdb

import (
	"fmt"
	"os"
	"strings"

	"github.com/driftdb/driftdb-go/internal/seal"
)

// KeyVariable is the environment variable that [KeysFromEnv] and the command driftdb
// read encryption keys from.
const KeyVariable = "DRIFTDB_KEY"

// KeysFromEnv returns the keys in the environment variable DRIFTDB_KEY, for
// Config.EncryptionKeys: 64 hex digits each, separated by commas, with spaces around
// them or not. The first one encrypts, all of them decrypt.
//
// Without a key, or with one that is none, it is ErrKey, so that no database goes to
// its bucket unencrypted because a variable was not set. The error does not have the
// key in it.
func KeysFromEnv() ([]string, error) {
	keys := strings.Split(os.Getenv(KeyVariable), ",")
	for i := range keys {
		keys[i] = strings.TrimSpace(keys[i])
	}
	if len(keys) == 1 && keys[0] == "" {
		return nil, fail(fmt.Errorf("%w: the environment variable %s is not set; openssl rand -hex 32 makes a key",
			seal.ErrKey, KeyVariable))
	}
	if _, err := seal.ParseKeys(keys); err != nil {
		return nil, fail(fmt.Errorf("the environment variable %s: %w", KeyVariable, err))
	}
	return keys, nil
}
