package faults_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestLies plays one scenario, of two writers of which the second takes over, again
// and again. Each time one or two of its requests get an answer that is not the
// store's. What Flush acknowledged, by whomever, is in the bucket at the end, and what
// is there is what each of them had at some moment.
//
// A failure tells its seed. "make faults" runs 5,000.
func TestLies(t *testing.T) {
	server := s3test.Start(t)
	from, to := seeds(t, 10, 100)
	honest := newLiar(t, server, nil)
	playLies(t, honest)
	requests := honest.requests
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 2))
			plan := map[int]lie{}
			for range 1 + rnd.IntN(2) {
				plan[1+rnd.IntN(requests)] = lies[rnd.IntN(len(lies))]
			}
			playLies(t, newLiar(t, server, plan))
		})
	}
}

// lie is an answer that something gives in the store's place.
type lie struct {
	name  string
	after bool // the store has done what it was asked
	tell  func(w http.ResponseWriter, r *http.Request, l *liar)
}

var lies = []lie{
	{"a page", false, say(200, "text/html", "<html><body>Please log in</body></html>")},
	{"a page, and it is done", true, say(200, "text/html", "<html><body>Please log in</body></html>")},
	{"nothing", false, say(200, "", "")},
	{"nothing, and it is done", true, say(200, "", "")},
	{"no content", false, say(204, "", "")},
	{"not modified", false, say(304, "", "")},
	{"a condition does not hold, and it is done", true, say(412, "application/xml", `<?xml version="1.0"?><Error><Code>PreconditionFailed</Code><Message>x</Message></Error>`)},
	{"another object", false, func(w http.ResponseWriter, _ *http.Request, l *liar) { l.another(w) }},
	{"another object, and it is done", true, func(w http.ResponseWriter, _ *http.Request, l *liar) { l.another(w) }},
	{"half of it", true, func(w http.ResponseWriter, _ *http.Request, l *liar) { l.half(w) }},
}

func say(status int, kind, body string) func(http.ResponseWriter, *http.Request, *liar) {
	return func(w http.ResponseWriter, r *http.Request, _ *liar) {
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.WriteHeader(status)
		if status != 204 && status != 304 && r.Method != http.MethodHead {
			_, _ = io.WriteString(w, body)
		}
	}
}

// liar stands before a real S3 server.
type liar struct {
	s3    *driftdb.S3Config
	proxy http.Handler

	mu       sync.Mutex
	plan     map[int]lie // by the number of the request
	requests int
	told     []string
	last     []byte // the last body that was read of an object
	etag     string
}

func newLiar(t *testing.T, server *s3test.Server, plan map[int]lie) *liar {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	systemtest.Check(t, err)
	l := &liar{plan: plan, proxy: &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host // which is signed
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}}
	front := httptest.NewServer(l)
	t.Cleanup(front.Close)
	l.s3 = &driftdb.S3Config{
		Bucket: server.NewBucket(t), Region: server.Region, Endpoint: front.URL,
		AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
	}
	return l
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock() // one request after the other, so that they can be counted
	l.requests++
	lie, lies := l.plan[l.requests]
	if lies {
		l.told = append(l.told, fmt.Sprintf("request %d, %s %s: %s", l.requests, r.Method, r.URL.Path, lie.name))
	}
	if lies && !lie.after {
		_, _ = io.Copy(io.Discard, r.Body)
		lie.tell(w, r, l)
		return
	}
	answer := httptest.NewRecorder()
	l.proxy.ServeHTTP(answer, r)
	if lies && lie.name == "half of it" {
		l.last, l.etag = answer.Body.Bytes(), answer.Header().Get("ETag")
	}
	if lies {
		lie.tell(w, r, l)
		return
	}
	if r.Method == http.MethodGet && answer.Code == 200 && answer.Header().Get("ETag") != "" {
		l.last, l.etag = answer.Body.Bytes(), answer.Header().Get("ETag")
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// another answers with the object that was read last, as a cache that mixes things up.
func (l *liar) another(w http.ResponseWriter) {
	w.Header().Set("ETag", l.etag)
	w.Header().Set("Content-Length", fmt.Sprint(len(l.last)))
	_, _ = io.Copy(w, bytes.NewReader(l.last))
}

// half says how long its body is and breaks off in the middle.
func (l *liar) half(w http.ResponseWriter) {
	w.Header().Set("ETag", l.etag)
	w.Header().Set("Content-Length", fmt.Sprint(len(l.last)+2))
	_, _ = w.Write(l.last[:len(l.last)/2])
	panic(http.ErrAbortHandler)
}

// witness is one of the two writers.
type witness struct {
	*testing.T
	name  string
	db    *driftdb.DB
	rows  []string // committed, in their order
	acked int      // so many of them are in the bucket, Flush said
}

func (l *liar) open(t *testing.T, name, path string) *witness {
	t.Helper()
	w := &witness{T: t, name: name}
	var err error
	for range 3 { // a restore may be lied to
		w.db, err = driftdb.Open(t.Context(), driftdb.Config{
			Name: "app", NodeID: name, Path: path, S3: l.s3, AutoRestore: true, ManualSync: true,
			Retry: driftdb.RetryPolicy{MaxRetries: 1, BaseDelay: time.Millisecond},
		})
		if err == nil {
			return w
		}
	}
	t.Fatalf("%s: open: %v; %q", name, err, l.told)
	return nil
}

// write commits a row, unless the writer is fenced.
func (w *witness) write() {
	row := fmt.Sprint(w.name, len(w.rows))
	if _, err := w.db.Exec(w.Context(), "INSERT INTO t VALUES(?)", row); err == nil {
		w.rows = append(w.rows, row)
	}
}

func (w *witness) flush() {
	if w.db.Flush(w.Context()) == nil {
		w.acked = len(w.rows)
	}
}

func (w *witness) snapshot() {
	if _, err := w.db.Snapshot(w.Context()); err == nil {
		w.acked = len(w.rows)
	}
}

func playLies(t *testing.T, l *liar) {
	dir := systemtest.MemoryDir(t)
	a := l.open(t, "a", filepath.Join(dir, "a.sqlite"))
	defer a.db.Close()
	if _, err := a.db.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t(who)"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a.write()
		a.flush()
	}
	a.write()
	a.snapshot()
	a.write()
	a.flush()
	b := l.open(t, "b", filepath.Join(dir, "b.sqlite"))
	defer b.db.Close()
	if _, err := b.db.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t(who)"); err != nil {
		t.Fatal(err)
	}
	b.write()
	b.flush()
	a.write()
	a.flush()
	b.write()
	b.snapshot()
	b.write()
	b.flush()
	a.flush()
	systemtest.Check(t, a.db.Close())
	systemtest.Check(t, b.db.Close())
	l.mu.Lock()
	l.plan = nil // the store itself again
	l.mu.Unlock()
	l.prove(t, a, b)
}

// prove restores what the bucket has.
func (l *liar) prove(t *testing.T, writers ...*witness) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restored.sqlite")
	acked := 0
	for _, w := range writers {
		acked += w.acked
	}
	_, err := driftdb.Restore(context.Background(), driftdb.RestoreConfig{Name: "app", S3: l.s3, Path: path})
	if err != nil {
		if acked > 0 {
			t.Fatalf("restore: %v; %q", err, l.told)
		}
		return
	}
	file, err := sql.Open("sqlite", path)
	systemtest.Check(t, err)
	defer file.Close()
	var all string
	systemtest.Check(t, file.QueryRow("SELECT coalesce(group_concat(who), '') FROM (SELECT who FROM t ORDER BY rowid)").Scan(&all))
	rows := strings.Split(all, ",")
	for _, w := range writers {
		own := slices.DeleteFunc(slices.Clone(rows), func(r string) bool { return !strings.HasPrefix(r, w.name) })
		if len(own) < w.acked || len(own) > len(w.rows) || !slices.Equal(own, w.rows[:len(own)]) {
			t.Errorf("of %s the bucket has %q; it had committed %q, of which the first %d were acknowledged; %q", w.name, own, w.rows, w.acked, l.told)
		}
	}
}
