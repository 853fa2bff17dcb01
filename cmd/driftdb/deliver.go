package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/spf13/cobra"
)

// deliveryOptions say where driftdb log --follow hands transactions over to.
type deliveryOptions struct {
	exec, webhook, secretFile string
	db, state                 string
	attempts                  int
}

func (o *deliveryOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.exec, "exec", "", "with --follow: run the shell command `CMD` for each transaction")
	f.StringVar(&o.webhook, "webhook", "", "with --follow: POST each transaction to this `URL`")
	f.StringVar(&o.secretFile, "secret-file", "", "`FILE` with the secret that signs what is posted (default: DRIFTDB_WEBHOOK_SECRET)")
	f.StringVar(&o.db, "db", "", "read from the database `FILE` that a program writes, instead of from the store")
	f.StringVar(&o.state, "state", "", "`FILE` that keeps how far it has come")
	f.IntVar(&o.attempts, "attempts", 10, "stop when a transaction could not be handed over `N` times")
	c.MarkFlagsMutuallyExclusive("exec", "webhook")
}

// wanted reports whether transactions are to be handed over.
func (o *deliveryOptions) wanted() bool { return o.exec != "" || o.webhook != "" }

// check reports flags that cannot be meant.
func (o *logOptions) checkDelivery(changed func(string) bool, json bool) error {
	d := &o.deliveryOptions
	if !d.wanted() {
		for _, flag := range []string{"secret-file", "db", "state", "attempts", "exec", "webhook"} {
			if changed(flag) {
				return usagef("--%s is for --follow with --exec CMD or --webhook URL", flag)
			}
		}
		if o.url == "" {
			return usagef(`required flag(s) "store" not set`)
		}
		return nil
	}
	for _, flag := range []string{"to", "since", "until", "key", "tx", "tail", "reverse", "sql"} {
		if changed(flag) {
			return usagef("--%s cannot be combined with --exec or --webhook", flag)
		}
	}
	switch {
	case !o.follow:
		return usagef("--exec and --webhook need --follow")
	case json:
		return usagef("--json cannot be combined with --exec or --webhook, which always get JSON")
	case o.url == "" && d.db == "":
		return usagef("give --store URL, or --db FILE")
	case changed("secret-file") && d.webhook == "":
		return usagef("--secret-file needs --webhook")
	case d.attempts < 1:
		return usagef("--attempts %d is too small; use 1 or more", d.attempts)
	}
	if d.webhook == "" {
		return nil
	}
	to, err := url.Parse(d.webhook)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return usagef("--webhook must be a URL that begins with https:// or http://") // it may hold a password
	}
	return nil
}

// changeSource is a database or a backup.
type changeSource interface {
	Changes(ctx context.Context, q driftdb.ChangeQuery) iter.Seq2[driftdb.Change, error]
}

// delivery hands transactions over, one after the other.
type delivery struct {
	app     *app
	options *logOptions
	source  changeSource
	send    func(context.Context, *parcel) error
	policy  retry.Policy
	state   *stateFile
}

// parcel is one transaction as it is handed over.
type parcel struct {
	Database string       `json:"database"`
	Tx       int64        `json:"tx"`
	Last     int64        `json:"last"`
	Time     instant      `json:"time"`
	Changes  []changeJSON `json:"changes"`

	body    []byte // this, as JSON on one line
	attempt int
}

// id is the same whenever the transaction is handed over.
func (p *parcel) id() string { return p.Database + "/" + strconv.FormatInt(p.Tx, 10) }

func (a *app) runDelivery(ctx context.Context, o *logOptions) (err error) {
	d := &delivery{app: a, options: o, policy: retry.Policy{BaseDelay: time.Second, MaxDelay: time.Minute}}
	if o.webhook != "" {
		secret, err := a.webhookSecret(o.secretFile)
		if err != nil {
			return err
		}
		d.send = (&webhook{url: o.webhook, secret: secret, client: webhookClient()}).send
	} else {
		d.send = a.commandFor(o.exec)
	}
	shut, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shut()) }()
	if d.state, err = openState(o.state, o.name); err != nil {
		return err
	}
	return d.run(ctx)
}

// open opens what to read from.
func (d *delivery) open(ctx context.Context) (shut func() error, err error) {
	if d.options.db == "" {
		d.source, err = d.app.open(ctx, d.options.place)
		return func() error { return nil }, err
	}
	cfg := driftdb.Config{Name: d.options.name, Path: d.options.db, ReadOnly: true, OnEvent: d.app.warn}
	if d.options.url != "" {
		at, err := d.app.config(ctx, d.options.place)
		if err != nil {
			return nil, err
		}
		cfg.Store, cfg.EncryptionKeys = at.Store, at.EncryptionKeys
	} else if !validName.MatchString(d.options.name) {
		return nil, usagef("--name %q is not a valid database name", d.options.name)
	}
	if err := mustExist(cfg.Path); err != nil {
		return nil, err
	}
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d.source = db
	return db.Close, nil
}

// run hands over what comes until ctx ends.
func (d *delivery) run(ctx context.Context) error {
	from, err := d.begin(ctx)
	if err != nil {
		return err
	}
	known := d.state.at
	var pending []driftdb.Change
	for c, err := range d.source.Changes(ctx, driftdb.ChangeQuery{From: from, Wait: true}) {
		switch {
		case err != nil:
			return d.gone(err)
		case c.Tx == known.Tx && c.Time.Equal(known.Time): // a barrier that takes many sequences
			continue
		}
		if d.selects(c) {
			pending = append(pending, c)
		}
		if !c.Last {
			continue
		}
		if err := d.handOver(ctx, pending, c); err != nil {
			return err
		}
		pending = nil
	}
	return nil
}

// begin returns the change with which to begin. A state must be one of this history. A new
// one is that of now, or of --from.
func (d *delivery) begin(ctx context.Context) (from int64, err error) {
	switch k := d.state.at; {
	case d.state.found:
		c, err := one(d.source.Changes(ctx, driftdb.ChangeQuery{From: k.Sequence, To: k.Sequence}))
		if err == nil {
			err = k.check(c)
		}
		return k.Sequence + 1, d.gone(err)
	case d.options.from != 0:
		return d.options.from, nil
	}
	last, err := one(d.source.Changes(ctx, driftdb.ChangeQuery{Reverse: true}))
	if err != nil || last == nil {
		return 1, err
	}
	d.state.at.Tx, d.state.at.Sequence, d.state.at.Time = last.Tx, last.Sequence, last.Time.UTC()
	return last.Sequence, d.state.save()
}

// gone adds a next step to the error for changes that are no longer kept.
func (d *delivery) gone(err error) error {
	if errors.Is(err, driftdb.ErrNoBackup) && d.state.found {
		return hinted{err, fmt.Sprintf("%s says that change %d was the last; to go on without what came after it, delete that file, or use --from with a new one", d.options.state, d.state.at.Sequence)}
	}
	return err
}

// selects reports whether a change is handed over. Barriers always are: they may concern
// any table.
func (d *delivery) selects(c driftdb.Change) bool {
	t := d.options.table
	return t == "" || c.Operation == driftdb.OperationBarrier || len(t) == len(c.Table) && strings.EqualFold(t, c.Table)
}

// handOver hands over what was selected of the transaction that ends with last.
func (d *delivery) handOver(ctx context.Context, changes []driftdb.Change, last driftdb.Change) error {
	if len(changes) > 0 {
		p := &parcel{Database: d.options.name, Tx: last.Tx, Last: last.Sequence, Time: instant(last.Time)}
		for _, c := range changes {
			p.Changes = append(p.Changes, jsonChange(c))
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(p); err != nil {
			return err
		}
		p.body = b.Bytes()
		if err := d.try(ctx, p); err != nil {
			return err
		}
	}
	return d.state.reach(cursorOf(last), len(changes) > 0)
}

// try hands p over until that succeeds, or has failed too often.
func (d *delivery) try(ctx context.Context, p *parcel) error {
	for p.attempt = 1; ; p.attempt++ {
		err := d.send(ctx, p)
		if err == nil || ctx.Err() != nil {
			return err
		}
		var no refusal
		if errors.As(err, &no) && no.final || p.attempt >= d.options.attempts {
			return hinted{fmt.Errorf("transaction %d was not handed over: %w", p.Tx, err), d.next()}
		}
		wait := max(d.policy.Delay(p.attempt), no.after)
		d.app.stderr.Printf("warning: transaction %d, attempt %d of %d: %v; trying again in %s\n", p.Tx, p.attempt, d.options.attempts, err, wait.Round(time.Millisecond).String())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// next says how to go on after a transaction that could not be handed over.
func (d *delivery) next() string {
	if d.options.state == "" {
		return "run it again with --from and the number of this transaction; with --state it would know by itself"
	}
	return "run it again to go on with this transaction; nothing was left out"
}

// refusal is the error of a receiver that has answered.
type refusal struct {
	error
	final bool          // another attempt would get the same answer
	after time.Duration // not before
}
