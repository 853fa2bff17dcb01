package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go"
)

// Message is a row of the table messages, and its JSON.
type Message struct {
	driftdb.Base
	Text string
}

// wall is the database, of the writer or of a follower.
type wall struct {
	cfg driftdb.Config

	mu       sync.RWMutex // held for writing while a follower is promoted
	follower *driftdb.Follower
	db       *driftdb.DB
	messages *driftdb.Repository[Message]
}

// open opens the database, or follows it.
func (w *wall) open(ctx context.Context, follows bool) (err error) {
	if !follows {
		w.db, err = driftdb.Open(ctx, w.cfg)
	} else {
		var b *driftdb.Backup
		if b, err = driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: w.cfg.Name, Store: w.cfg.Store}); err != nil {
			return err
		}
		if w.follower, err = b.Follow(ctx, w.cfg.Path, driftdb.FollowConfig{PollInterval: time.Second}); err == nil {
			w.db = w.follower.DB()
		}
	}
	if err != nil {
		return err
	}
	w.messages, err = driftdb.Define[Message](ctx, w.db, "messages")
	for follows && errors.Is(err, driftdb.ErrReadOnly) { // the writer's table has not come yet
		if err = w.follower.WaitFor(ctx, w.follower.Sequence()+1); err == nil {
			w.messages, err = driftdb.Define[Message](ctx, w.db, "messages")
		}
	}
	return err
}

func (w *wall) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.follower != nil {
		return w.follower.Close()
	}
	return w.db.Close()
}

// posted is the answer to a message. Sequence is the number of its change: a client that
// asks a follower next, passes it on to see its own message.
type posted struct {
	Message
	Sequence int64
}

// post stores a message. The answer comes when it is in the store, so a message that was
// accepted survives the loss of this machine: whoever is promoted has it.
func (w *wall) post(rw http.ResponseWriter, r *http.Request) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	text, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 1<<10))
	if err != nil {
		http.Error(rw, "a message has at most 1 KiB", http.StatusRequestEntityTooLarge)
		return
	}
	var out posted
	var tx *driftdb.Tx
	err = w.db.Tx(r.Context(), func(x *driftdb.Tx) (err error) {
		tx = x
		out.Message, err = w.messages.In(x).Create(r.Context(), Message{Text: string(text)})
		return err
	})
	if err == nil {
		out.Sequence = tx.Sequence()
		err = w.db.WaitSynced(r.Context(), out.Sequence)
	}
	answer(rw, out, err)
}

// list returns the newest messages; with ?after=N not before those of change N are here.
func (w *wall) list(rw http.ResponseWriter, r *http.Request) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	if after, err := strconv.ParseInt(r.FormValue("after"), 10, 64); err == nil && w.follower != nil {
		if err := w.follower.WaitFor(ctx, after); err != nil {
			answer(rw, nil, err)
			return
		}
	}
	found, err := w.messages.Find(ctx, driftdb.Query{OrderBy: []driftdb.Order{driftdb.Desc("createdAt")}, Limit: 100})
	answer(rw, found, err)
}

// events streams what happens to messages, as server-sent events. Their ids are the
// sequences of the changes: a browser that reconnects, to this process or to another one,
// tells the last one that it has seen, and misses nothing.
func (w *wall) events(rw http.ResponseWriter, r *http.Request) {
	w.mu.RLock()
	db := w.db
	w.mu.RUnlock()
	from := db.Sequence() + 1
	if seen, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		from = seen + 1
	}
	rw.Header().Set("Content-Type", "text/event-stream")
	stream := http.NewResponseController(rw)
	if _, err := io.WriteString(rw, ": from change "+strconv.FormatInt(from, 10)+"\n\n"); err != nil || stream.Flush() != nil {
		return
	}
	for c, err := range db.Changes(r.Context(), driftdb.ChangeQuery{From: from, Wait: true}) {
		if err != nil {
			return // the browser connects again
		}
		if c.Table != "messages" && c.Operation != driftdb.OperationBarrier {
			continue
		}
		if err := send(rw, c); err != nil || stream.Flush() != nil {
			return
		}
	}
}

// send writes a change as an event. After a barrier the browser must read the list again.
func send(w io.Writer, c driftdb.Change) error {
	row := c.After
	if row == nil {
		row = c.Key
	}
	data, err := json.Marshal(row)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", c.Sequence, strings.ToLower(string(c.Operation)), data)
	return err
}

// promote makes this process the writer. The old one, if it is alive, is refused from now
// on. Streams of events end, and the browsers connect again.
func (w *wall) promote(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.follower == nil {
		http.Error(rw, "this process is the writer", http.StatusConflict)
		return
	}
	db, err := w.follower.Promote(r.Context(), w.cfg)
	if err == nil {
		w.follower, w.db = nil, db
		w.messages, err = driftdb.Define[Message](r.Context(), db, "messages")
	} else if again := w.open(context.WithoutCancel(r.Context()), true); again != nil {
		err = fmt.Errorf("%w; and it cannot follow any more: %w", err, again)
	}
	answer(rw, map[string]int64{"Sequence": w.db.Sequence()}, err)
}

// health tells how far this process is.
func (w *wall) health(rw http.ResponseWriter, _ *http.Request) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.follower == nil {
		answer(rw, map[string]any{"role": "writer", "sequence": w.db.Sequence()}, nil)
		return
	}
	answer(rw, map[string]any{"role": "follower", "sequence": w.follower.Sequence(), "lag": w.follower.Lag().String()}, w.follower.Err())
}
