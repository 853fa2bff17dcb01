package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
)

const token = "b7a1c9f4-secret"

// service answers requests by a script, and keeps what was said of it.
type service struct {
	mu     sync.Mutex
	script []func(*http.Request) (*http.Response, error) // the last one is for all that follow
	at     []time.Duration                               // of each request
	said   []string
	begin  time.Time
}

func status(code int) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("OK")), Header: http.Header{}, Request: r}, nil
	}
}

func redirect(to string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		answer, err := status(http.StatusFound)(r)
		answer.Header.Set("Location", to)
		return answer, err
	}
}

func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.at = append(s.at, time.Since(s.begin))
	answer := s.script[min(len(s.at), len(s.script))-1]
	s.mu.Unlock()
	return answer(r)
}

func (s *service) Enabled(context.Context, slog.Level) bool { return true }
func (s *service) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s *service) WithGroup(string) slog.Handler            { return s }
func (s *service) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, text)
	return nil
}

// start returns a sender whose requests the script answers.
func start(t *testing.T, address string, script ...func(*http.Request) (*http.Response, error)) (*Sender, *service) {
	t.Helper()
	to, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{script: script, begin: time.Now()}
	sender := to.Start(event.To(s))
	sender.client.Transport = s
	return sender, s
}

// want compares what was asked for, when, and what was said.
func (s *service) want(t *testing.T, at []time.Duration, said ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if fmt.Sprint(s.at) != fmt.Sprint(at) {
		t.Errorf("requests after %v, want %v", s.at, at)
	}
	if len(s.said) != len(said) {
		t.Fatalf("%q, want %d events", s.said, len(said))
	}
	for i, text := range s.said {
		if !strings.Contains(text, said[i]) || strings.Contains(text, token) {
			t.Errorf("%q, want %q in it, and no token", text, said[i])
		}
	}
}

func seconds(n ...int) (out []time.Duration) {
	for _, s := range n {
		out = append(out, time.Duration(s)*time.Second)
	}
	return out
}

// TestAttempts: what may pass is tried three times, what will not, once.
func TestAttempts(t *testing.T) {
	for name, c := range map[string]struct {
		script []func(*http.Request) (*http.Response, error)
		at     []time.Duration
		said   []string
	}{
		"good":         {script: steps(status(200)), at: seconds(0)},
		"second":       {script: steps(status(503), status(204)), at: seconds(0, 2)},
		"third":        {script: steps(status(429), status(500), status(200)), at: seconds(0, 2, 4)},
		"never":        {script: steps(status(500)), at: seconds(0, 2, 4), said: []string{"attempts=3 error=the service answers 500"}},
		"unknown":      {script: steps(status(404)), at: seconds(0), said: []string{"attempts=1 error=the service answers 404 Not Found; compare HeartbeatURL"}},
		"silent":       {script: steps(silent), at: seconds(0, 12, 24), said: []string{"attempts=3"}},
		"redirected":   {script: steps(redirect("/there"), status(200)), at: seconds(0, 0)},
		"encrypted":    {script: steps(redirect("https://EXAMPLE.com/x"), status(200)), at: seconds(0, 0)},
		"elsewhere":    {script: steps(redirect("https://example.org/" + token)), at: seconds(0, 2, 4), said: []string{`redirects to another host, "example.org"`}},
		"in circles":   {script: steps(redirect("/again")), at: seconds(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4), said: []string{"redirects more than 3 times"}},
		"unparsable":   {script: steps(redirect("http://[/" + token)), at: seconds(0, 2, 4), said: []string{"the answer is none of HTTP's"}},
		"talkative":    {script: steps(failing(errors.New("cannot get /ping/" + token))), at: seconds(0, 2, 4), said: []string{"the answer is none of HTTP's"}},
		"disconnected": {script: steps(failing(errors.New("connection refused"))), at: seconds(0, 2, 4), said: []string{"host=example.com attempts=3 error=connection refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sender, s := start(t, "http://example.com/ping/"+token, c.script...)
				sender.Beat()
				time.Sleep(time.Minute)
				sender.Close()
				s.want(t, c.at, c.said...)
			})
		})
	}
}

func steps(all ...func(*http.Request) (*http.Response, error)) []func(*http.Request) (*http.Response, error) {
	return all
}

func failing(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// TestFollow: no redirect takes the URL to another host, nor back to plain HTTP.
func TestFollow(t *testing.T) {
	at := func(address string) *http.Request {
		return httptest.NewRequest(http.MethodGet, address, nil)
	}
	for to, want := range map[string]string{
		"https://example.com/b":      "",
		"https://EXAMPLE.com:8443/b": "",
		"http://example.com/b":       "from https to http",
		"https://example.com.evil/b": "another host",
	} {
		err := follow(at(to), []*http.Request{at("https://example.com/a")})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("to %s: %v, want %q", to, err, want)
		}
	}
}

// TestGap: many successes within a second share a heartbeat, and the last one is told.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender, s := start(t, "https://example.com/"+token, status(200))
		for range 25 {
			sender.Beat()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		sender.Close()
		s.want(t, seconds(0, 1, 2, 3)) // the one at 2.4 s waits until 3 s
	})
}

// TestOneAtATime: a slow service has one request at a time.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(r *http.Request) (*http.Response, error) {
			time.Sleep(9 * time.Second)
			return status(200)(r)
		}
		sender, s := start(t, "https://example.com/"+token, slow)
		for range 20 {
			sender.Beat()
			time.Sleep(time.Second)
		}
		sender.Close()
		s.want(t, seconds(0, 10, 20))
	})
}

// TestClose: the heartbeat that is due goes out, within two seconds and without waiting
// for what delays others. The bubble ends only if no goroutine is left.
func TestClose(t *testing.T) {
	for name, c := range map[string]struct {
		script []func(*http.Request) (*http.Response, error)
		beats  []time.Duration // the time before each
		took   time.Duration   // by Close
		at     []time.Duration
		said   []string
	}{
		"nothing due":    {script: steps(status(200))},
		"due":            {script: steps(status(200)), beats: seconds(0), at: seconds(0)},
		"due in the gap": {script: steps(status(200)), beats: []time.Duration{0, time.Second / 2}, at: []time.Duration{0, time.Second / 2}},
		"silent":         {script: steps(silent), beats: seconds(0), took: grace, at: seconds(0), said: []string{"did not answer within 2s after Close"}},
		"failing":        {script: steps(status(500)), beats: seconds(0), at: seconds(0), said: []string{"attempts=1 error=the service answers 500"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sender, s := start(t, "https://example.com/"+token, c.script...)
				for _, before := range c.beats {
					time.Sleep(before)
					sender.Beat()
					if before == 0 && len(c.beats) > 1 {
						synctest.Wait()
					}
				}
				began := time.Now()
				sender.Close()
				if took := time.Since(began); took != c.took {
					t.Errorf("Close took %s, want %s", took, c.took)
				}
				s.want(t, c.at, c.said...)
			})
		})
	}
}

// TestParse: what cannot work is refused, without repeating it.
func TestParse(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.com/" + token:             "",
		"http://user:" + token + "@127.0.0.1:80/x": "",
		"ftp://example.com/" + token:               "does not begin with https",
		"example.com/" + token:                     "does not begin with https",
		"https:///" + token:                        "names no host",
		"https://example.com/%zz" + token:          "no URL",
		"":                                         "does not begin with https",
	} {
		_, err := Parse(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), token)) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}

// TestDiscreet: an error loses its URL, and what is left of it elsewhere.
func TestDiscreet(t *testing.T) {
	s := &Sender{to: &url.URL{Scheme: "https", Host: "example.com", Path: "/", RawQuery: "id=" + token}}
	for _, err := range []error{&url.Error{Op: "Get", URL: s.to.String(), Err: errors.New("x")}, errors.New("at /?id=" + token)} {
		if text := s.discreet(err).Error(); strings.Contains(text, token) {
			t.Errorf("%q repeats the URL", text)
		}
	}
}
