package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// watch looks for secrets in whatever it is shown.
type watch struct {
	t      *testing.T
	folder string // whose files are searched: those of the test, and temporary ones
	log    *slog.Logger
	systemtest.Traces
	tokenSent atomic.Bool
	opened    int // objects that were decrypted
}

// newWatch watches for secrets. Until the test ends, temporary files are in the folder
// that it searches, and all output of the process is in a file that it searches then.
func newWatch(t *testing.T, secrets map[string]string) *watch {
	t.Helper()
	w := &watch{t: t, folder: t.TempDir()}
	for name, secret := range secrets {
		w.AddAll(name, secret)
	}
	temp := filepath.Join(w.folder, "temp")
	systemtest.Check(t, os.Mkdir(temp, 0o700))
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, temp)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	systemtest.Check(t, err)
	stdout, stderr, logged := os.Stdout, os.Stderr, log.Writer()
	os.Stdout, os.Stderr = out, out
	log.SetOutput(out)
	t.Cleanup(func() {
		os.Stdout, os.Stderr = stdout, stderr
		log.SetOutput(logged)
		systemtest.Check(t, out.Close())
		text, err := os.ReadFile(out.Name())
		systemtest.Check(t, err)
		w.look("output and logs", text)
		w.files()
	})
	all := &slog.HandlerOptions{Level: slog.LevelDebug - 4, AddSource: true}
	w.log = slog.New(slog.NewMultiHandler(slog.NewTextHandler(out, all), slog.NewJSONHandler(out, all)))
	return w
}

// look searches what came out at some place.
func (w *watch) look(place string, data []byte) {
	for _, found := range w.Find(place, data) {
		w.t.Error(found)
	}
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
	systemtest.Check(w.t, err)
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
func (w *watch) request(r systemtest.S3Request) *systemtest.S3Refusal {
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
func (w *watch) bucket(g *systemtest.S3Gate, cfg driftdb.Config) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	info, err := systemtest.InfoOf(ctx, driftdb.BackupConfig{Name: cfg.Name, S3: cfg.S3, EncryptionKeys: cfg.EncryptionKeys})
	systemtest.Check(t, err)
	ring, err := seal.ParseKeys(cfg.EncryptionKeys)
	systemtest.Check(t, err)
	const prefix = "driftdb/"
	client := g.Server.Client(t)
	list, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &g.Bucket})
	systemtest.Check(t, err)
	for _, object := range list.Contents {
		got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &g.Bucket, Key: object.Key})
		systemtest.Check(t, err)
		data, err := io.ReadAll(got.Body)
		systemtest.Check(t, errors.Join(err, got.Body.Close()))
		w.look(*object.Key, data)
		tags, err := client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &g.Bucket, Key: object.Key})
		systemtest.Check(t, err)
		w.look("what the service knows of "+*object.Key, fmt.Appendf(nil, "%s %+v %+v", *object.Key, tags.TagSet, *got))
		place := seal.Context{DatabaseID: info.DatabaseID, Name: strings.TrimPrefix(*object.Key, prefix)}
		if place.Name == systemtest.TheManifest {
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
