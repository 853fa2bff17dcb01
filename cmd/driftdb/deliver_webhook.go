package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// secretVariable holds the secret that signs what is posted.
const secretVariable = "DRIFTDB_WEBHOOK_SECRET"

// shortestSecret is how many bytes a secret must have; who guesses it can forge
// transactions.
const shortestSecret = 24

// webhookSecret returns the secret, or nil if there is none. The prefix whsec_ says that
// the rest is in base64, as the Standard Webhooks have it.
func (a *app) webhookSecret(file string) ([]byte, error) {
	text, from := os.Getenv(secretVariable), secretVariable
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the secret: %w", err)
		}
		a.warnOfReaders(file, "secret")
		text, from = string(content), "the secret file "+file
	}
	if text = strings.TrimSpace(text); text == "" {
		if file != "" {
			return nil, fmt.Errorf("%s is empty", from)
		}
		return nil, nil
	}
	secret := []byte(text)
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, fmt.Errorf("what follows whsec_ in %s is not base64", from) // err would repeat a part of it
		}
	}
	if len(secret) < shortestSecret {
		return nil, fmt.Errorf("the secret in %s has %d bytes; use %d or more", from, len(secret), shortestSecret)
	}
	return secret, nil
}

// webhook posts transactions, as standardwebhooks.com describes.
type webhook struct {
	url    string
	secret []byte // nil: nothing is signed
	client *http.Client
}

// attemptTimeout bounds one attempt.
const attemptTimeout = 30 * time.Second

// webhookClient returns a client that follows no redirect: a POST would become a GET, or
// go to somebody who was not named.
func webhookClient() *http.Client {
	return &http.Client{Timeout: attemptTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (w *webhook) send(ctx context.Context, p *parcel) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(p.body))
	if err != nil {
		return errors.New("the URL of the webhook is not valid") // err would repeat it
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "driftdb")
	r.Header.Set("Webhook-Id", p.id())
	r.Header.Set("Webhook-Timestamp", now)
	r.Header.Set("Driftdb-Attempt", strconv.Itoa(p.attempt))
	if w.secret != nil {
		r.Header.Set("Webhook-Signature", signature(w.secret, p.id(), now, p.body))
	}
	answer, err := w.client.Do(r)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // the rest is the URL, which may hold a password
		}
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	if answer.StatusCode/100 == 2 {
		return nil // the status says that it has the transaction, whatever becomes of the text
	}
	if err != nil {
		text = nil
	}
	return judged(answer, strings.TrimSpace(string(text)))
}

// signature is what the receiver compares: of the id, the time and the body.
func signature(secret []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// judged returns the error of an answer that is no success.
func judged(answer *http.Response, text string) refusal {
	r := refusal{error: fmt.Errorf("the webhook answers %s", answer.Status)}
	if text != "" {
		r.error = fmt.Errorf("%w: %s", r.error, text)
	}
	switch code := answer.StatusCode; {
	case code/100 == 3:
		r.final = true
		r.error = fmt.Errorf("%w; redirects are not followed: give the URL that it leads to", r.error)
	case code == http.StatusRequestTimeout, code == http.StatusConflict, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
	case code/100 == 4:
		r.final = true
	}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		r.after = min(time.Duration(seconds)*time.Second, longestWait)
	}
	return r
}

// longestWait bounds how long a receiver can make it wait.
const longestWait = 5 * time.Minute
