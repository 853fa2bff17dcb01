package damage_test

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

var pairsFlag = flag.Int("pairs", 20, "TestDistinguish tells so many pairs of databases apart")

const pairTable = "salaries_confidential"

const pairKey = "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"

// TestDistinguish: who reads all of an encrypted bucket cannot tell which of two databases
// it holds, by anything but sizes and times. The attacker has the schema, both databases,
// and of each all that its bucket would hold without encryption, under the same names and
// with the same id and times.
//
// Of a manifest of version 1, which is text, the same attacker can tell it every time.
func TestDistinguish(t *testing.T) {
	pairs := *pairsFlag
	if testing.Short() {
		pairs = min(pairs, 2)
	}
	ring, err := seal.ParseKeys([]string{pairKey})
	systemtest.Check(t, err)
	dir := systemtest.MemoryDir(t)
	var base driftdb.Config
	var empty systemtest.Bucket
	synctest.Test(t, func(t *testing.T) { base, empty = newPair(t, dir) })
	for pair := range pairs {
		seed := uint64(pair) + 1
		rnd := rand.New(rand.NewPCG(seed, 1))
		var held [2]systemtest.Bucket // encrypted
		var plain [2]systemtest.Bucket
		for i := range held {
			pins := make([]string, 20)
			for j := range pins {
				pins[j] = fmt.Sprintf("%04d", rnd.IntN(10000))
			}
			synctest.Test(t, func(t *testing.T) { held[i] = fillPair(t, base, empty, pins) })
			plain[i] = opened(t, held[i], ring)
		}
		if a, b := slices.Sorted(maps.Keys(held[0])), slices.Sorted(maps.Keys(held[1])); !slices.Equal(a, b) {
			t.Fatalf("pair %d: the names of objects differ:\n%q\n%q", pair, a, b)
		}
		guesses := [2]map[string][]byte{guessesFrom(t, plain[0]), guessesFrom(t, plain[1])}
		secret := rnd.IntN(2)
		if found := tellApart(held[secret], guesses); len(found[0])+len(found[1]) > 0 {
			t.Errorf("pair %d: the bucket tells what it holds: %q", pair, found)
		}
		for key, object := range held[secret] {
			if bytes.Contains(object, []byte(pairTable)) {
				t.Errorf("pair %d: %s has the name of a table", pair, key)
			}
		}
		textual := maps.Clone(held[secret])
		textual[systemtest.TheManifest] = asVersion1(t, plain[secret][systemtest.TheManifest], ring)
		if pair == 0 {
			rc := driftdb.RestoreConfig{Name: "app", Store: textual.Store(t), EncryptionKeys: []string{pairKey}}
			_, err := driftdb.Verify(t.Context(), rc)
			systemtest.Check(t, err)
		}
		found := tellApart(textual, guesses)
		if len(found[1-secret]) > 0 || len(found[secret]) == 0 {
			t.Fatalf("pair %d, version 1: the attacker found %q, and the database is %d", pair, found, secret)
		}
		for _, leak := range []string{`"chainHead"`, `"sha256"`, `"` + pairTable + `"`, "SHA-256"} {
			if !slices.ContainsFunc(found[secret], func(what string) bool { return strings.Contains(what, leak) }) {
				t.Errorf("pair %d, version 1: the attacker did not find %s, only %q", pair, leak, found[secret])
			}
		}
	}
}

// newPair makes the database that both of a pair begin with, and its bucket.
func newPair(t *testing.T, dir string) (driftdb.Config, systemtest.Bucket) {
	cfg := driftdb.Config{
		Name: "app", NodeID: "n", Path: filepath.Join(dir, "base.sqlite"), Store: objstore.Mem(),
		ManualSync: true, EncryptionKeys: []string{pairKey},
	}
	db, err := driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "CREATE TABLE "+pairTable+"(id INTEGER PRIMARY KEY, pin TEXT)")
	systemtest.Check(t, db.Flush(t.Context()))
	systemtest.Check(t, db.Close())
	return cfg, systemtest.BucketOf(t, cfg.Store)
}

// fillPair puts rows into a copy of it, and returns what its bucket has then.
func fillPair(t *testing.T, base driftdb.Config, empty systemtest.Bucket, pins []string) systemtest.Bucket {
	time.Sleep(24 * time.Hour) // each bubble begins at the same time, and the base is older
	dir, err := os.MkdirTemp(filepath.Dir(base.Path), "pair-")
	systemtest.Check(t, err)
	cfg := base
	cfg.Path, cfg.Store = filepath.Join(dir, "app.sqlite"), empty.Store(t)
	systemtest.Check(t, systemtest.CopyDatabase(base.Path, cfg.Path))
	db, err := driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	_, _, err = db.CollectGarbage(t.Context()) // which takes an epoch: with a change, it would be drawn at random
	systemtest.Check(t, err)
	for i, pin := range pins {
		systemtest.Exec(t, db, "INSERT INTO "+pairTable+" VALUES(?, ?)", i+1, pin)
		if i%8 == 7 {
			systemtest.Check(t, db.Flush(t.Context()))
			_, err := db.Snapshot(t.Context())
			systemtest.Check(t, err)
		}
	}
	systemtest.Check(t, db.Shutdown(t.Context()))
	return systemtest.BucketOf(t, cfg.Store)
}

// opened is what all objects hold; opens only with the keys.
func opened(t *testing.T, held systemtest.Bucket, ring *seal.Ring) systemtest.Bucket {
	t.Helper()
	open := func(key, id string) []byte {
		r, err := seal.NewReader(bytes.NewReader(held[key]), ring, seal.Context{DatabaseID: id, Name: key})
		systemtest.Check(t, err)
		content, err := io.ReadAll(r)
		systemtest.Check(t, err)
		return content
	}
	plain := systemtest.Bucket{systemtest.TheManifest: open(systemtest.TheManifest, "driftdb manifest v2")}
	var m remote.Manifest
	systemtest.Check(t, json.Unmarshal(plain[systemtest.TheManifest], &m))
	for key := range held {
		switch {
		case key == systemtest.TheManifest:
		case strings.HasSuffix(key, "/probe"):
			plain[key] = held[key]
		default:
			plain[key] = open(key, m.DatabaseID)
		}
	}
	return plain
}

// asVersion1 is a manifest as it was stored where there were keys before version 2.
func asVersion1(t *testing.T, content []byte, ring *seal.Ring) []byte {
	t.Helper()
	var m remote.Manifest
	systemtest.Check(t, json.Unmarshal(content, &m))
	m.FormatVersion = 1
	text, err := json.MarshalIndent(m, "", "  ")
	systemtest.Check(t, err)
	m.MAC, err = ring.MAC("driftdb manifest v1", text)
	systemtest.Check(t, err)
	text, err = json.MarshalIndent(m, "", "  ")
	systemtest.Check(t, err)
	return append(text, '\n')
}

// jsonString is a string in JSON, with the colon after it if it is a name.
var jsonString = regexp.MustCompile(`"(?:[^"\\]|\\.)*":?`)

// guessesFrom is what can be computed from a database: what its objects would hold, line
// by line, string by string and page by page, and hashes of all of it, by what it is.
func guessesFrom(t *testing.T, plain systemtest.Bucket) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	add := func(what string, content []byte) {
		all[what] = content
		h1, h2, h3, h4 := sha256.Sum256(content), sha1.Sum(content), md5.Sum(content), sha512.Sum512(content)
		all[what+", SHA-256"], all[what+", SHA-1"], all[what+", MD5"], all[what+", SHA-512"] = h1[:], h2[:], h3[:], h4[:]
		h5 := sha256.Sum256(append([]byte("app"), content...))
		all[what+", salted with the name"] = h5[:]
	}
	for key, content := range plain {
		add(key, content)
		var zipped bytes.Buffer
		gz, err := gzip.NewWriterLevel(&zipped, 5)
		systemtest.Check(t, err)
		gz.OS = 255
		_, err = gz.Write(content)
		systemtest.Check(t, errors.Join(err, gz.Close()))
		add(key+" compressed", zipped.Bytes())
		if strings.HasSuffix(key, ".sqlite") {
			for i := 0; i < len(content); i += 4096 {
				add(fmt.Sprintf("%s, page %d", key, i/4096), content[i:min(i+4096, len(content))])
			}
			continue
		}
		for i, line := range bytes.Split(content, []byte("\n")) {
			add(fmt.Sprintf("%s, line %d", key, i), line)
			var name string
			for j, quoted := range jsonString.FindAllString(string(line), -1) {
				if value, is := strings.CutSuffix(quoted, ":"); is {
					name, quoted = value, value
				} else if name == `"nonce"` { // no attacker computes that
					continue
				}
				add(fmt.Sprintf("%s, line %d, string %d, at %s", key, i, j, name), []byte(quoted[1:len(quoted)-1]))
			}
		}
	}
	return all
}

// tellApart finds, for each of two databases, what of its guesses the bucket shows that is
// none of the other's.
func tellApart(held systemtest.Bucket, guesses [2]map[string][]byte) (found [2][]string) {
	var all []byte // with the names
	for _, key := range slices.Sorted(maps.Keys(held)) {
		all = append(append(append(all, key...), 0), held[key]...)
	}
	for i := range guesses {
		for what, guess := range guesses[i] {
			if len(guess) < 8 || bytes.Equal(guess, guesses[1-i][what]) {
				continue // it may be there by chance, or says nothing
			}
			if form := shows(all, guess); form != "" && shows(all, guesses[1-i][what]) == "" {
				found[i] = append(found[i], what+" "+form)
			}
		}
	}
	return found
}

// shows says in which form all has guess. Of a hash, or something else that is short and
// binary, the first eight bytes are enough.
func shows(all, guess []byte) string {
	if len(guess) <= sha512.Size && bytes.ContainsFunc(guess, func(r rune) bool { return r < ' ' || r > '~' }) {
		guess = guess[:8]
	}
	digits := hex.EncodeToString(guess)
	for form, token := range map[string]string{
		"as it is": string(guess), "in hex": digits, "in capital hex": strings.ToUpper(digits),
		"in base64":     base64.RawStdEncoding.EncodeToString(guess[:len(guess)/3*3]),
		"in base64 URL": base64.RawURLEncoding.EncodeToString(guess[:len(guess)/3*3]),
	} {
		if bytes.Contains(all, []byte(token)) {
			return form
		}
	}
	return ""
}
