package examples_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestLive: what is posted to the writer arrives at a stream of a follower. The writer is
// killed and the follower promoted; it has every message that was accepted, and a stream
// that begins again misses none.
func TestLive(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signal that asks a program to end")
	}
	work, store := folders(t)
	writer, running, _ := start(t, command(t, work, "live", "-addr", "localhost:0", "-store", store))
	postText(t, writer, "one")
	copied := command(t, work, "live", "-addr", "localhost:0", "-store", store, "-db", "copy.sqlite", "-follow")
	follower, standby, said := start(t, copied)
	if got := texts(t, follower+"/messages"); got != "one" {
		t.Errorf("the follower begins with %q", got)
	}

	events := stream(t, follower, 0)
	two := postText(t, writer, "two")
	if got := texts(t, follower+"/messages?after="+strconv.FormatInt(two, 10)); got != "one two" {
		t.Errorf("after change %d the follower has %q", two, got)
	}
	if id, text := events.next(t); id != two || text != "two" {
		t.Errorf("the event %d %q; want %d", id, text, two)
	}
	if code := status(t, http.MethodPost, follower+"/messages", "no"); code != http.StatusMisdirectedRequest {
		t.Errorf("a message to the follower: %d", code)
	}

	postText(t, writer, "three") // the follower may have it, or not
	kill(t, running)
	ask(t, http.MethodPost, follower+"/promote")
	if got := texts(t, follower+"/messages"); got != "one two three" {
		t.Errorf("promoted, it has %q", got)
	}
	four := postText(t, follower, "four")
	again := stream(t, follower, two)
	if id, text := again.next(t); id <= two || text != "three" {
		t.Errorf("the event %d %q", id, text)
	}
	if id, text := again.next(t); id != four || text != "four" {
		t.Errorf("the event %d %q; want %d", id, text, four)
	}
	if err := standby.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(said)
	if ended := standby.Wait(); ended != nil || err != nil || len(rest) > 0 {
		t.Errorf("%v, %v: %s", ended, err, rest)
	}
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

// request makes a request whose body and status the caller reads.
func request(t *testing.T, method, url, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func status(t *testing.T, method, url, body string) int {
	t.Helper()
	return request(t, method, url, body).StatusCode
}

// postText posts a message, and returns the number of its change.
func postText(t *testing.T, url, text string) int64 {
	t.Helper()
	var posted struct {
		Text     string
		Sequence int64
	}
	res := request(t, http.MethodPost, url+"/messages", text)
	if err := json.NewDecoder(res.Body).Decode(&posted); err != nil || posted.Text != text || posted.Sequence == 0 {
		t.Fatalf("POST %s: %s %+v, %v", text, res.Status, posted, err)
	}
	return posted.Sequence
}

// texts reads a list of messages, the oldest first.
func texts(t *testing.T, url string) string {
	t.Helper()
	var found []struct{ Text string }
	if err := json.Unmarshal([]byte(ask(t, http.MethodGet, url)), &found); err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range found {
		out = append(out, found[len(found)-1-i].Text)
	}
	return strings.Join(out, " ")
}

// eventStream reads server-sent events.
type eventStream struct{ lines *bufio.Reader }

// stream begins after a change; 0: with the next one.
func stream(t *testing.T, url string, after int64) eventStream {
	t.Helper()
	var header []string
	if after > 0 {
		header = []string{"Last-Event-ID", fmt.Sprint(after)}
	}
	s := eventStream{bufio.NewReader(request(t, http.MethodGet, url+"/events", "", header...).Body)}
	if line, err := s.lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, ": from change") {
		t.Fatalf("%q, %v", line, err)
	}
	return s
}

// next returns the next event that is an insert.
func (s eventStream) next(t *testing.T) (id int64, text string) {
	t.Helper()
	insert := false
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case name == "id":
			if id, err = strconv.ParseInt(value, 10, 64); err != nil {
				t.Fatal(err)
			}
		case name == "event":
			insert = value == "insert"
		case name == "data" && insert:
			var row struct {
				Text string `json:"text"`
			}
			if err := json.Unmarshal([]byte(value), &row); err != nil {
				t.Fatal(err)
			}
			return id, row.Text
		}
	}
}
