package systemtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// canaries searches for the secrets with which a run's tests open databases. It searches
// the tests' folders and buckets as they are when a test ends, and everything that the
// process has printed and logged. It is nil unless DRIFTDB_CANARY is set.
var canaries *canarySuite

type canarySuite struct {
	mu       sync.Mutex
	secrets  Traces
	known    map[string]bool
	searched int // files and objects
	out      bytes.Buffer
	log      *slog.Logger
}

// KeyOf returns a key that resembles nothing else.
func KeyOf(name string) string {
	sum := sha256.Sum256([]byte("driftdb test key " + name))
	return hex.EncodeToString(sum[:])
}

// Main runs a package's tests, or the function of a subprocess; its TestMain calls it.
func Main(m *testing.M) {
	subprocess.Main()
	if os.Getenv("DRIFTDB_CANARY") == "" {
		os.Exit(m.Run())
	}
	_ = os.Unsetenv("DRIFTDB_CANARY") // subprocesses are left to their tests
	canaries = &canarySuite{known: map[string]bool{}}
	all := &slog.HandlerOptions{Level: slog.LevelDebug - 4, AddSource: true}
	canaries.log = slog.New(slog.NewMultiHandler(slog.NewTextHandler(canaries, all), slog.NewJSONHandler(canaries, all)))
	var copying sync.WaitGroup
	stdout := canaries.tee(&os.Stdout, &copying)
	stderr := canaries.tee(&os.Stderr, &copying)
	log.SetOutput(os.Stderr)
	code := m.Run()
	_, _ = os.Stdout.Close(), os.Stderr.Close()
	copying.Wait()
	os.Stdout, os.Stderr = stdout, stderr
	found := canaries.secrets.Find("output, logs or events", canaries.out.Bytes())
	fmt.Printf("canary: %d secrets, %d files and objects, %d bytes of output, logs and events\n", len(canaries.known), canaries.searched, canaries.out.Len())
	if len(found) > 0 || len(canaries.known) == 0 {
		fmt.Println("FAIL: a secret came out:\n" + strings.Join(found, "\n"))
		code = 1
	}
	os.Exit(code)
}

// Write records output.
func (s *canarySuite) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

// tee records what is written to *f from now on, and returns the previous *f.
func (s *canarySuite) tee(f **os.File, copying *sync.WaitGroup) *os.File {
	was := *f
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	*f = w
	copying.Go(func() { _, _ = io.Copy(io.MultiWriter(was, s), r) })
	return was
}

// add adds a secret to look for.
func (s *canarySuite) add(name, secret string) {
	if s == nil || len(secret) < 16 || secret == strings.Repeat(secret[:2], len(secret)/2) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known[secret] {
		s.known[secret] = true
		s.secrets.AddAll(name, secret)
	}
}

// opened is called for each database that a test opens. If cfg has no logger, it returns
// cfg with one that logs everything.
func (s *canarySuite) opened(t testing.TB, cfg driftdb.Config) driftdb.Config {
	if s == nil {
		return cfg
	}
	for _, key := range cfg.EncryptionKeys {
		s.add("a key", key)
	}
	if cfg.S3 != nil {
		s.add("an S3 secret", cfg.S3.SecretAccessKey)
		s.add("a session token", cfg.S3.SessionToken)
	}
	folder := filepath.Dir(t.TempDir()) // which contains all of the test's folders
	t.Cleanup(func() { s.search(t, folder, cfg.Store) })
	if cfg.Logger == nil {
		cfg.Logger = s.log
	}
	return cfg
}

// search searches all files of a test, and the objects in its bucket.
func (s *canarySuite) search(t testing.TB, folder string, store objstore.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	look := func(place string, data []byte) {
		s.searched++
		for _, found := range s.secrets.Find(place, data) {
			t.Error(found)
		}
	}
	_ = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			data, _ := os.ReadFile(path) // it may be gone, or not readable by this user
			look(path, data)
		}
		return nil
	})
	if store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for info, err := range store.List(ctx, "", objstore.ListOptions{}) {
		if err != nil {
			return // a test's store that fails on purpose
		}
		body, _, err := store.Get(ctx, info.Key, objstore.GetOptions{})
		if err != nil {
			continue
		}
		data, _ := io.ReadAll(body)
		_ = body.Close()
		look(info.Key, append([]byte(info.Key+"\n"), data...))
	}
}

// Traces holds the traces of the secrets to look for, indexed by their first two bytes.
type Traces struct{ by [1 << 16][]trace }

// trace is a quarter of a secret in one spelling. Anything that contains half of a secret
// contains at least one of its quarters.
type trace struct{ name, text string }

// AddAll adds a secret as it is given, in capitals, and as the bytes that its hex digits
// stand for.
func (s *Traces) AddAll(name, secret string) {
	s.add(name, secret)
	s.add(name+" in capitals", strings.ToUpper(secret))
	if raw, err := hex.DecodeString(secret); err == nil {
		s.add(name+" as bytes", string(raw))
	}
}

// add adds the quarters of a secret.
func (s *Traces) add(name, secret string) {
	for i := range 4 {
		for _, text := range spellings([]byte(secret[i*len(secret)/4 : (i+1)*len(secret)/4])) {
			start := &s.by[binary.BigEndian.Uint16([]byte(text))]
			*start = append(*start, trace{name, text})
		}
	}
}

// spellings returns the ways in which bytes may be written, whatever surrounds them.
func spellings(b []byte) []string {
	all := []string{
		string(b), strings.Trim(strconv.Quote(string(b)), `"`), url.QueryEscape(string(b)),
		hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), fmt.Sprintf("% x", b), strings.Trim(fmt.Sprint(b), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
	}
	for shift := range 3 { // base64 of something longer that contains b
		bits := append(make([]byte, shift), b...)
		from, to := (8*shift+5)/6, 8*len(bits)/6
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, encoding.EncodeToString(bits)[from:to])
		}
	}
	return all
}

// Find returns a description of each trace of a secret in data.
func (s *Traces) Find(place string, data []byte) (found []string) {
	for i := range max(len(data)-1, 0) {
		for _, trace := range s.by[binary.BigEndian.Uint16(data[i:])] {
			if bytes.HasPrefix(data[i:], []byte(trace.text)) {
				found = append(found, fmt.Sprintf("%s: has the %s: …%q…", place, trace.name, data[max(i-100, 0):i]))
			}
		}
	}
	return found
}
