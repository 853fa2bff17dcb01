package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// TestSignature is the example of the Standard Webhooks.
func TestSignature(t *testing.T) {
	t.Setenv(secretVariable, testSecret)
	secret, err := new(app).webhookSecret("")
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, bad := range []string{"whsec_!", "short", "whsec_c2hvcnQ="} {
		t.Setenv(secretVariable, bad)
		if s, err := new(app).webhookSecret(""); err == nil || strings.Contains(err.Error(), strings.TrimPrefix(bad, "whsec_")) && bad != "short" {
			t.Errorf("%q: %q, %v", bad, s, err)
		}
	}
}

// receiver is a webhook. It answers as the test says.
type receiver struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	got    []int64 // the transactions that it has accepted, with repetitions
	tries  int
	answer func(n int, w http.ResponseWriter) (accepted bool)
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter) bool) *receiver {
	r := &receiver{t: t, answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // it was killed meanwhile
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	secret, _ := new(app).webhookSecret("")
	stamp := q.Header.Get("Webhook-Timestamp")
	if want := signature(secret, q.Header.Get("Webhook-Id"), stamp, body); want != q.Header.Get("Webhook-Signature") {
		r.t.Errorf("the signature is %s, want %s", q.Header.Get("Webhook-Signature"), want)
	}
	if seconds, err := strconv.ParseInt(stamp, 10, 64); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Hour {
		r.t.Errorf("the timestamp is %q", stamp)
	}
	var p struct {
		Database string
		Tx       int64
		Changes  []struct{ Tx int64 }
	}
	if err := json.Unmarshal(body, &p); err != nil || fmt.Sprintf("%s/%d", p.Database, p.Tx) != q.Header.Get("Webhook-Id") || len(p.Changes) == 0 || p.Changes[0].Tx != p.Tx {
		r.t.Errorf("the body %s of %s: %v", body, q.Header.Get("Webhook-Id"), err)
	}
	r.tries++
	if r.answer(r.tries, w) {
		r.got = append(r.got, p.Tx)
	}
}

func (r *receiver) accepted() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// delivering starts driftdb log --follow for a database, and returns what it prints to
// standard error when it has ended.
func delivering(t *testing.T, args ...string) (cmd *exec.Cmd, wait func() string) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), "driftdb", append([]string{"log", "--follow", "--name", "app"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, func() string {
		_ = cmd.Wait() // the tests look at the exit code
		return stderr.String()
	}
}

// delivered is a database with a store.
func delivered(t *testing.T) (db *driftdb.DB, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := objstore.Dir(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	db, err = driftdb.Open(t.Context(), driftdb.Config{Name: "app", Path: filepath.Join(dir, "a.db"), Store: store, ManualSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // a test may have closed it
	committed(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	return db, dir
}

func committed(t *testing.T, db *driftdb.DB, statement string) int64 {
	t.Helper()
	if _, err := db.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	return db.Sequence()
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// TestWebhookKilled: whatever happens to the process that delivers, and to its requests,
// the receiver gets every transaction, in order; only what was under way comes again.
func TestWebhookKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	t.Setenv(secretVariable, testSecret)
	db, dir := delivered(t)
	r := newReceiver(t, func(n int, w http.ResponseWriter) bool {
		switch {
		case n%17 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
			return false
		case n%23 == 0:
			panic(http.ErrAbortHandler) // it has it or not; nobody knows
		}
		return true
	})
	args := []string{"--db", filepath.Join(dir, "a.db"), "--store", folderURL(dir) + "/store", "--webhook", r.URL, "--state", filepath.Join(dir, "state"), "--from", "1", "--table", "T"}
	var want []int64
	for range 6 {
		cmd, wait := delivering(t, args...)
		for range 20 {
			want = append(want, committed(t, db, "INSERT INTO t(v) VALUES('x')"))
			committed(t, db, "CREATE TABLE IF NOT EXISTS u(v); INSERT INTO u VALUES(1)") // not of t
			time.Sleep(time.Duration(random.IntN(15)) * time.Millisecond)
		}
		if random.IntN(2) == 0 {
			if err := db.Flush(t.Context()); err != nil { // trims the log
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err, wait())
		}
		wait()
	}
	cmd, wait := delivering(t, args...)
	until(t, "all is delivered", func() bool { got := r.accepted(); return len(got) > 0 && got[len(got)-1] == want[len(want)-1] })
	_ = cmd.Process.Kill()
	wait()
	if got := slices.Compact(r.accepted()); !slices.Equal(got, want) {
		t.Errorf("the receiver has %d, want %d", got, want)
	}
	t.Logf("%d transactions in %d attempts", len(want), r.tries)
}

// TestWebhookStops: an answer that another attempt would not change stops it, and so does
// the last attempt; the next run begins there.
func TestWebhookStops(t *testing.T) {
	t.Setenv(secretVariable, testSecret)
	db, dir := delivered(t)
	first := committed(t, db, "INSERT INTO t(v) VALUES('x')")
	second := committed(t, db, "INSERT INTO t(v) VALUES('y')")
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	r := newReceiver(t, func(n int, w http.ResponseWriter) bool {
		if n > 1 {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "why")
		}
		return n == 1
	})
	where := strings.Replace(r.URL, "http://", "http://user:password@", 1)
	args := []string{"--store", folderURL(dir) + "/store", "--webhook", where, "--state", filepath.Join(dir, "state"), "--from", fmt.Sprint(first), "--attempts", "1"}
	for _, status = range []int{http.StatusBadRequest, http.StatusFound, http.StatusInternalServerError} {
		cmd, wait := delivering(t, args...)
		said := wait()
		if cmd.ProcessState.ExitCode() != exitFailed || strings.Contains(said, "password") ||
			!strings.Contains(said, fmt.Sprintf("transaction %d was not handed over: the webhook answers %d", second, status)) {
			t.Errorf("%d: exit code %d, %s", status, cmd.ProcessState.ExitCode(), said)
		}
	}
	r.Close()
	cmd, wait := delivering(t, args...)
	if said := wait(); cmd.ProcessState.ExitCode() != exitFailed || strings.Contains(said, "password") || !strings.Contains(said, "refused") && runtime.GOOS == "linux" {
		t.Errorf("without a server: exit code %d, %s", cmd.ProcessState.ExitCode(), said)
	}
	if got := r.accepted(); !slices.Equal(got, []int64{first}) {
		t.Errorf("it has %d", got)
	}
	// Another database in its place.
	if err := os.WriteFile(filepath.Join(dir, "state"), fmt.Appendf(nil, `{"database":"app","tx":%d,"sequence":%[1]d,"time":"2020-01-01T00:00:00Z"}`, first), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, wait = delivering(t, args...)
	if said := wait(); cmd.ProcessState.ExitCode() != exitDamaged || !strings.Contains(said, "another history") {
		t.Errorf("a state of another history: exit code %d, %s", cmd.ProcessState.ExitCode(), said)
	}
}

// TestLogExec: the command gets each transaction on its standard input; one that fails
// gets it again.
func TestLogExec(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a POSIX shell")
	}
	db, dir := delivered(t)
	committed(t, db, "INSERT INTO t(v) VALUES('before it runs')")
	out := filepath.Join(dir, "out")
	command := fmt.Sprintf(`cat >> '%s' && echo " $DRIFTDB_DATABASE $DRIFTDB_TX $DRIFTDB_SEQUENCE $DRIFTDB_ATTEMPT" >> '%[1]s' && test "$DRIFTDB_ATTEMPT" = 2`, out)
	state := filepath.Join(dir, "state")
	cmd, wait := delivering(t, "--db", filepath.Join(dir, "a.db"), "--exec", command, "--state", state)
	until(t, "it has begun", func() bool { _, err := os.Stat(state); return err == nil })
	last := committed(t, db, "INSERT INTO t(v) VALUES('a'), ('b')")
	read := func() string { text, _ := os.ReadFile(out); return string(text) }
	until(t, "the second attempt", func() bool { return strings.Count(read(), "\n ") == 2 })
	until(t, "the state", func() bool {
		text, _ := os.ReadFile(state)
		return strings.Contains(string(text), fmt.Sprintf(`"sequence":%d`, last))
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	said := wait()
	if !strings.Contains(said, "attempt 1 of 10: exit status 1; trying again in") {
		t.Error(said)
	}
	lines := strings.Split(strings.TrimSpace(read()), "\n")
	if len(lines) != 4 || lines[0] != lines[2] || lines[1] != fmt.Sprintf(" app %d %d 1", last-1, last) || !strings.Contains(lines[0], `"changes":[{"sequence"`) {
		t.Errorf("%q", lines)
	}
}
