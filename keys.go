package driftdb

import (
	"fmt"
	"os"
	"strings"

	"github.com/driftdb/driftdb-go/internal/seal"
)

// KeyVariable is the environment variable from which [KeysFromEnv] and the driftdb
// command read encryption keys.
const KeyVariable = "DRIFTDB_KEY"

// KeysFromEnv returns the keys in the environment variable DRIFTDB_KEY, for
// Config.EncryptionKeys: 64 hex digits each, separated by commas, with or without spaces
// around them. The first encrypts, all decrypt.
//
// If there is no key, or one is invalid, the error is ErrKey. So a missing variable never
// causes a database to be uploaded unencrypted. The error does not contain the key.
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
