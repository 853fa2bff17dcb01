package driftdb_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/seal"
)

// watch looks for secrets in whatever it is shown.
type watch struct {
	t         *testing.T
	folder    string // whose files are searched: those of the test, and temporary ones
	log       *slog.Logger
	traces    [1 << 16][]trace // by their first two bytes
	tokenSent atomic.Bool
	opened    int // objects that were decrypted
}

// trace is a quarter of a secret in one spelling. Whatever has half of a secret has one.
type trace struct{ name, text string }

// newWatch watches for secrets. Until the test ends, temporary files are in the folder
// that it searches, and all output of the process is in a file that it searches then.
func newWatch(t *testing.T, secrets map[string]string) *watch {
	t.Helper()
	w := &watch{t: t, folder: t.TempDir()}
	for name, secret := range secrets {
		w.addAll(name, secret)
	}
	temp := filepath.Join(w.folder, "temp")
	check(t, os.Mkdir(temp, 0o700))
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, temp)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	check(t, err)
	stdout, stderr, logged := os.Stdout, os.Stderr, log.Writer()
	os.Stdout, os.Stderr = out, out
	log.SetOutput(out)
	t.Cleanup(func() {
		os.Stdout, os.Stderr = stdout, stderr
		log.SetOutput(logged)
		check(t, out.Close())
		text, err := os.ReadFile(out.Name())
		check(t, err)
		w.look("output and logs", text)
		w.files()
	})
	all := &slog.HandlerOptions{Level: slog.LevelDebug - 4, AddSource: true}
	w.log = slog.New(slog.NewMultiHandler(slog.NewTextHandler(out, all), slog.NewJSONHandler(out, all)))
	return w
}

// addAll adds a secret as it is given, and as what it is.
func (w *watch) addAll(name, secret string) {
	w.add(name, secret)
	w.add(name+" in capitals", strings.ToUpper(secret))
	if raw, err := hex.DecodeString(secret); err == nil {
		w.add(name+" as bytes", string(raw))
	}
}

// add adds the quarters of a secret.
func (w *watch) add(name, secret string) {
	for i := range 4 {
		for _, text := range spellings([]byte(secret[i*len(secret)/4 : (i+1)*len(secret)/4])) {
			start := &w.traces[binary.BigEndian.Uint16([]byte(text))]
			*start = append(*start, trace{name, text})
		}
	}
}

// spellings are the ways in which bytes are written, whatever is around them.
func spellings(b []byte) []string {
	all := []string{
		string(b), strings.Trim(strconv.Quote(string(b)), `"`), url.QueryEscape(string(b)),
		hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), fmt.Sprintf("% x", b), strings.Trim(fmt.Sprint(b), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
	}
	for shift := range 3 { // base64 of something longer that has b in it
		bits := append(make([]byte, shift), b...)
		from, to := (8*shift+5)/6, 8*len(bits)/6
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, encoding.EncodeToString(bits)[from:to])
		}
	}
	return all
}

// look searches what came out at some place.
func (w *watch) look(place string, data []byte) {
	for _, found := range w.find(place, data) {
		w.t.Error(found)
	}
}

// find returns what is to be said of secrets in data.
func (w *watch) find(place string, data []byte) (found []string) {
	for i := range max(len(data)-1, 0) {
		for _, trace := range w.traces[binary.BigEndian.Uint16(data[i:])] {
			if bytes.HasPrefix(data[i:], []byte(trace.text)) {
				found = append(found, fmt.Sprintf("%s: has the %s: …%q…", place, trace.name, data[max(i-100, 0):i]))
			}
		}
	}
	return found
}

// printed looks at a value however it is printed, and at all errors within one.
func (w *watch) printed(place string, v any) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%s"} {
		w.look(place+" by "+verb, fmt.Appendf(nil, verb, v))
	}
	w.log.Info(place, "it", v)
	switch v := v.(type) {
	case interface{ Unwrap() error }:
		w.printed(place, v.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range v.Unwrap() {
			w.printed(place, err)
		}
	}
}

func (w *watch) succeeds(result any, err error) {
	w.t.Helper()
	check(w.t, err)
	w.printed("a result", result)
}

func (w *watch) fails(what string, err, want error) {
	w.t.Helper()
	if err == nil || want != nil && !errors.Is(err, want) {
		w.t.Errorf("%s: %v, want %v", what, err, want)
	}
	w.printed("the error of "+what, err)
}

func (w *watch) event(e driftdb.Event) {
	w.printed("an event", e)
	for name, value := range e.Attrs {
		w.printed("an event's "+name, value)
	}
}

func (w *watch) progress(p driftdb.Progress) {
	w.printed("progress", p)
	w.files()
}

// request looks at a request, and at the files as they are when one writes. It refuses
// nothing. The session token has one place in it.
func (w *watch) request(r s3Request) *s3Refusal {
	const token = "X-Amz-Security-Token"
	header := r.Header.Clone()
	if header.Get(token) == tokenCanary {
		w.tokenSent.Store(true)
		header.Del(token)
	}
	w.look("a request", fmt.Appendf(nil, "%s %s %v", r.Method, r.RequestURI, header))
	if r.Method == http.MethodPut {
		w.files()
	}
	return nil
}

// files looks at all files in the folder. They may come and go, and Windows lets nobody
// read one that is locked.
func (w *watch) files() {
	err := filepath.WalkDir(w.folder, func(path string, entry fs.DirEntry, err error) error {
		w.look("the name of a file", []byte(path))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !entry.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		w.look(path, data)
		if errors.Is(err, fs.ErrNotExist) || runtime.GOOS == "windows" {
			return nil
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

// bucket looks at all objects of a database: at what the service knows of them, and what
// is in them, as they are and opened.
func (w *watch) bucket(g *s3Gate, cfg driftdb.Config) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	info, err := infoOf(ctx, driftdb.BackupConfig{Name: cfg.Name, S3: cfg.S3, EncryptionKeys: cfg.EncryptionKeys})
	check(t, err)
	ring, err := seal.ParseKeys(cfg.EncryptionKeys)
	check(t, err)
	const prefix = "driftdb/"
	client := g.server.Client(t)
	list, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &g.bucket})
	check(t, err)
	for _, object := range list.Contents {
		got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &g.bucket, Key: object.Key})
		check(t, err)
		data, err := io.ReadAll(got.Body)
		check(t, errors.Join(err, got.Body.Close()))
		w.look(*object.Key, data)
		tags, err := client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &g.bucket, Key: object.Key})
		check(t, err)
		w.look("what the service knows of "+*object.Key, fmt.Appendf(nil, "%s %+v %+v", *object.Key, tags.TagSet, *got))
		place := seal.Context{DatabaseID: info.DatabaseID, Name: strings.TrimPrefix(*object.Key, prefix)}
		if place.Name == theManifest {
			place.DatabaseID = "driftdb manifest v2"
		}
		open, err := seal.NewReader(bytes.NewReader(data), ring, place)
		if err != nil {
			continue // the probe, which is not sealed
		}
		if data, err = io.ReadAll(open); err == nil {
			w.opened++
			w.look(*object.Key+", opened", data)
		}
	}
}
