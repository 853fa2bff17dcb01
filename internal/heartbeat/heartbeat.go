// Package heartbeat tells a monitoring service that the backup is alive: a GET of a URL
// after each success. The service raises the alarm when they stay away, so it notices
// what a program that has died, or cannot reach its bucket, cannot report itself.
//
// The URL is a secret, since whoever has it can silence the alarm: no error repeats it.
package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/event"
)

const (
	attemptTimeout = 10 * time.Second // for one request, its redirects and its body included
	attempts       = 3                // for one heartbeat
	pause          = 2 * time.Second  // between them
	gap            = time.Second      // between heartbeats; what succeeds meanwhile shares the next one
	grace          = 2 * time.Second  // for the last one, from Close on
	maxRedirects   = 3
	maxBody        = 64 << 10 // a longer answer is not read to its end
	shortestSecret = 6        // bytes of a part of the URL that an error must not repeat
)

// Target is where heartbeats go. Neither fmt nor a logger sees more of it than a pointer.
type Target struct{ url *url.URL }

// Parse returns the target with this URL. Its error does not repeat the URL.
func Parse(address string) (*Target, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("this is no URL; give one that begins with https://")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL does not begin with https:// or http://")
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host; give all of it, such as https://host/path")
	}
	return &Target{u}, nil
}

// Sender sends heartbeats, one at a time, from a goroutine of its own.
type Sender struct {
	to     *url.URL
	client *http.Client
	log    event.Log

	due    chan struct{} // has one if a heartbeat is to be sent; capacity 1
	stop   chan struct{} // closed by Close: nothing is waited for any more
	done   chan struct{} // closed when the goroutine has ended
	life   context.Context
	cancel func()
}

// Start returns a sender to t, whose goroutine runs until Close.
func (t *Target) Start(log event.Log) *Sender {
	s := &Sender{to: t.url, log: log, due: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	// A connection of its own each time: a minute passes until the next heartbeat, and
	// Close leaves nothing open.
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, DialContext: dial}
	s.client = &http.Client{Transport: transport, Timeout: attemptTimeout, CheckRedirect: follow}
	s.life, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s
}

// Beat has a heartbeat sent. It never waits. Calls that come while one is being sent share
// the next one.
func (s *Sender) Beat() {
	select {
	case s.due <- struct{}{}:
	default:
	}
}

// Close sends the heartbeat that is due, if there is one, gives up after a grace period,
// and returns when the goroutine has ended. It must be called once.
func (s *Sender) Close() {
	close(s.stop)
	late := time.AfterFunc(grace, s.cancel)
	<-s.done
	late.Stop()
	s.cancel()
}

func (s *Sender) run() {
	defer close(s.done)
	for {
		select {
		case <-s.due:
			s.send()
			s.wait(gap)
			continue
		case <-s.stop:
		}
		select {
		case <-s.due: // both were ready
			s.send()
		default:
		}
		return
	}
}

// wait returns after d, and reports false if Close was called before.
func (s *Sender) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stop:
		return false
	}
}

// send sends one heartbeat. Failures that may pass are retried until Close.
func (s *Sender) send() {
	for attempt := 1; ; attempt++ {
		err := s.get()
		if err == nil {
			return
		}
		if r, ok := errors.AsType[refusal](err); ok && r.final() || attempt == attempts || !s.wait(pause) {
			s.log.Warn(event.HeartbeatFailed, "the heartbeat could not be sent; syncing is not affected", "host", s.to.Hostname(), "attempts", attempt, "error", err)
			return
		}
	}
}

// attemptKey is the key of a context's value: the context itself, which ends with its attempt.
type attemptKey struct{}

// dial makes a connection that ends with its attempt. A transport goes on with one that its request
// has given up, through a handshake that may hang for ever.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	life := ctx.Value(attemptKey{}).(context.Context) // ctx itself ends with no request
	conn, err := new(net.Dialer).DialContext(life, network, address)
	if err == nil {
		context.AfterFunc(life, func() { _ = conn.Close() })
	}
	return conn, err
}

func (s *Sender) get() error {
	life, end := context.WithCancel(s.life)
	defer end()
	r, err := http.NewRequestWithContext(context.WithValue(life, attemptKey{}, life), http.MethodGet, s.to.String(), nil)
	if err != nil {
		return errors.New("the URL is not valid") // err would repeat it
	}
	r.Header.Set("User-Agent", "driftdb")
	answer, err := s.client.Do(r)
	switch {
	case err != nil && s.life.Err() != nil:
		return fmt.Errorf("the service did not answer within %s after Close", grace)
	case err != nil:
		return s.discreet(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return refusal{answer.StatusCode}
	}
	_, _ = io.CopyN(io.Discard, answer.Body, maxBody) // the status has said all that counts
	return nil
}

// discreet returns err without the URL. What a server sends, such as a Location that cannot
// be parsed, may repeat parts of it.
func (s *Sender) discreet(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	parts := strings.FieldsFunc(s.to.EscapedPath()+"?"+s.to.RawQuery, func(r rune) bool { return strings.ContainsRune("/?&=", r) })
	for _, part := range parts {
		if len(part) >= shortestSecret && strings.Contains(err.Error(), part) {
			return errors.New("the answer is none of HTTP's")
		}
	}
	return err
}

// refusal is an answer that is no success.
type refusal struct{ status int }

func (r refusal) Error() string {
	text := fmt.Sprintf("the service answers %d %s", r.status, http.StatusText(r.status))
	if r.status == http.StatusNotFound || r.status == http.StatusGone {
		text += "; compare HeartbeatURL with what the service shows"
	}
	return text
}

// final reports whether the same request would have the same answer.
func (r refusal) final() bool {
	return r.status/100 == 4 && r.status != http.StatusRequestTimeout && r.status != http.StatusTooManyRequests
}

// follow allows redirects within a host, and from http to https: the URL, whose path is a
// secret, must not reach another host as a Referer, nor go on unencrypted.
func follow(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case !strings.EqualFold(r.URL.Hostname(), first.Hostname()):
		return fmt.Errorf("the service redirects to another host, %q; give the URL that it leads to", r.URL.Hostname())
	case r.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https":
		return errors.New("the service redirects from https to http; give a URL that stays encrypted")
	case len(via) > maxRedirects:
		return fmt.Errorf("the service redirects more than %d times", maxRedirects)
	}
	return nil
}
