package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/inspect"
	"github.com/spf13/cobra"
)

// tokenVariable has the token of the inspector, if no file has it.
const tokenVariable = "DRIFTDB_INSPECT_TOKEN"

type inspectOptions struct {
	place
	listen, tokenFile string
	hosts             []string
	retention         durationFlag
}

func (a *app) inspectCommand() *cobra.Command {
	o := &inspectOptions{retention: durationFlag{defaultRetention}}
	c := &cobra.Command{
		Use:   "inspect --store URL [--listen 127.0.0.1:7171] [--token-file FILE] [--host NAME] [--retention 30d]",
		Short: "Show the backups of a store in a web browser",
		Long: `Show the backups of a store in a web browser: their state, a timeline, the log,
transactions, the life of a row, tables as they were, what differs between two
points, what retention will delete, and what the backup costs. It only reads.
Each page shows the command that does what the page shows.

It listens on 127.0.0.1:7171 and runs until it is interrupted. Port 0 is any
free port. The first line of standard output is the address to open.

To be reached from other machines, it needs a token of at least 16 characters,
from the file that --token-file names or from DRIFTDB_INSPECT_TOKEN. A browser
asks for it once; programs send "Authorization: Bearer TOKEN". It speaks plain
HTTP: put a TLS proxy before it, or use a tunnel such as
ssh -L 7171:127.0.0.1:7171 HOST.

Requests must name the address at which they arrive, or localhost, as their
host. Behind a proxy, add the name that people use with --host.

Tables as they were, and some differences, are restored to temporary files,
which are deleted when nobody has looked at them for some minutes.

With --json the first line is {"url"}.`,
	}
	o.storeFlag(c)
	c.Flags().StringVar(&o.listen, "listen", "127.0.0.1:7171", "`ADDRESS` to listen on, as host:port")
	c.Flags().StringVar(&o.tokenFile, "token-file", "", "`FILE` with the token that visitors need")
	c.Flags().StringArrayVar(&o.hosts, "host", nil, "a further host `NAME` under which the inspector is reached; may be repeated")
	c.Flags().Var(&o.retention, "retention", "what retention will delete is shown for this `DURATION`, the program's own Retention")
	return a.command(c, func(ctx context.Context, _ []string) error { return a.runInspect(ctx, o) }, "store")
}

func (a *app) runInspect(ctx context.Context, o *inspectOptions) error {
	if o.retention.Duration <= 0 {
		return usagef("--retention %s is not a positive duration; use one such as 30d", &o.retention)
	}
	token, err := o.token()
	if err != nil {
		return err
	}
	store, err := openStore(ctx, o.url)
	if err != nil {
		return err
	}
	keys, err := a.keys()
	if err != nil {
		return err
	}
	cfg := driftdb.BackupConfig{Store: store, EncryptionKeys: keys}
	if _, err := driftdb.ListBackups(ctx, cfg); err != nil { // a store that cannot be read is better told here than on each page
		return err
	}
	h, err := inspect.Store(cfg, inspect.Options{Store: o.url, Hosts: o.hosts, Token: token, Retention: o.retention.Duration, Verified: verifiedIn(o.url)})
	if err != nil {
		return usage(err)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return hinted{err, "choose another address with --listen; port 0 is any free one"}
	}
	// Until Serve runs, the queue of the listener keeps who comes.
	url := fmt.Sprintf("http://%s/", l.Addr())
	if token == "" && !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return usage(fmt.Errorf("other machines can reach %s: set a token with --token-file or %s, or listen on 127.0.0.1", l.Addr(), tokenVariable))
	}
	if err := a.report(struct {
		URL string `json:"url"`
	}{url}, "%s\n", url); err != nil {
		return err
	}
	a.stderr.Printf("open %s in a browser; Ctrl-C ends\n", url)
	return h.Serve(ctx, l)
}

// token is the token that visitors need; "" if there is none.
func (o *inspectOptions) token() (string, error) {
	if o.tokenFile == "" {
		return strings.TrimSpace(os.Getenv(tokenVariable)), nil
	}
	content, err := os.ReadFile(o.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if token == "" {
		return "", fmt.Errorf("the token file %s holds no token; write one of at least 16 characters", o.tokenFile)
	}
	return token, nil
}

// verifiedIn tells when this machine last verified a backup of a store.
func verifiedIn(storeURL string) func(driftdb.BackupInfo) (int64, time.Time) {
	return func(info driftdb.BackupInfo) (int64, time.Time) {
		v := verifiedOf(storeURL, info)
		v.recall()
		return v.Sequence, v.VerifiedAt
	}
}
