package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

const (
	setClock   = "set the clock that is wrong (NTP: timedatectl set-ntp true)"
	seeRights  = "allow it in the policy of the credentials: see the policies in docs/PROVIDERS.md"
	seeAddress = "check the network, the name and the port of the endpoint, and HTTPS_PROXY"
)

// anything is a name that no database needs to have, for a first request to a store.
const anything = "databases/"

func (p *patient) address(ctx context.Context) Finding {
	switch {
	case p.cfg.Unopened != nil:
		p.lack("the store could not be opened", aStore, aName, aTrial, aManifest)
		return failed(p.cfg.Unopened.Error(), remedyOf(p.cfg.Unopened))
	case p.cfg.Store == nil:
		return notTried("no store was given")
	}
	began := time.Now()
	v, ok, err := s3store.Look(ctx, p.cfg.Store)
	if !ok { // a folder, or a program's own store
		for _, lerr := range p.cfg.Store.List(ctx, anything, objstore.ListOptions{Folders: true}) {
			err = lerr
			break
		}
	}
	p.visit, p.visited = v, ok
	p.hear(v.Date, v.Began, v.Ended)
	if err != nil && !errors.Is(err, fs.ErrPermission) { // without the right to list, others may do
		p.lack("the store does not answer", aStore, aName, aTrial, aManifest)
		if ok && !v.Date.IsZero() { // it answers, but does not have the bucket
			p.lack("the bucket cannot be used", aName, aTrial, aManifest)
			p.has(aStore)
		}
		return failed(err.Error(), remedyOf(err))
	}
	p.reached()
	if !ok {
		return okay("the store answers")
	}
	at := v.Host
	if len(v.Addresses) > 0 {
		at += " (" + strings.Join(v.Addresses, ", ") + ")"
	}
	return okay(fmt.Sprintf("%s answers, in %d ms", at, time.Since(began).Milliseconds()))
}

// remedyOf is what to do about an error of the store.
func remedyOf(err error) string {
	switch e, _ := errors.AsType[*s3store.Error](err); {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, objstore.ErrUnreachable):
		return seeAddress
	case errors.Is(err, objstore.ErrFolderReplaced):
		return "mount the disk that the folder is on"
	case errors.Is(err, objstore.ErrNoBucket) && strings.Contains(err.Error(), "region"):
		return "set the bucket's own region (in the URL: ?region=REGION)"
	case errors.Is(err, objstore.ErrNoBucket):
		return "create the bucket or folder, or correct the URL of the store"
	case e != nil && e.Code == "RequestTimeTooSkewed":
		return setClock
	case e != nil && (e.Code == "InvalidAccessKeyId" || e.Code == "SignatureDoesNotMatch" || e.Status == 401):
		return "check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
	case errors.Is(err, fs.ErrPermission):
		return seeRights
	}
	return seeAddress
}

func (p *patient) tls(context.Context) Finding {
	v := p.visit
	switch {
	case !p.visited:
		return okay("not needed: the store is not on the network")
	case v.Plain && isHere(v.Host):
		return okay("http, which does not leave this machine")
	case v.Plain:
		return warn("http, without TLS: others on the way can read what is not encrypted, and change it", "use an endpoint with https")
	case v.Until.IsZero():
		return okay(v.TLS)
	}
	left := time.Until(v.Until)
	if left < 7*24*time.Hour {
		return warn(fmt.Sprintf("%s; the server's certificate ends in %s", v.TLS, age(left)), "renew the server's certificate")
	}
	return okay(fmt.Sprintf("%s; the server's certificate ends in %s", v.TLS, age(left)))
}

// isHere reports whether a host with a port is this machine.
func isHere(host string) bool {
	name, _, err := net.SplitHostPort(host)
	return err == nil && (name == "localhost" || net.ParseIP(name).IsLoopback())
}

func (p *patient) region(context.Context) Finding {
	v := p.visit
	switch {
	case !p.visited:
		return okay("a folder has none")
	case v.BucketRegion != "" && v.BucketRegion != v.Region:
		return failed(fmt.Sprintf("the bucket is in region %s, and requests are signed for %s", v.BucketRegion, v.Region), "set the bucket's own region (in the URL: ?region="+v.BucketRegion+")")
	case v.BucketRegion == "":
		return okay(v.Region + "; the service does not say where the bucket is")
	}
	return okay(v.Region)
}

func (p *patient) credentials(context.Context) Finding {
	switch {
	case !p.visited:
		return okay("a folder needs none")
	case p.visit.Credentials == "":
		return failed("there are no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the machine")
	}
	return okay("from " + p.visit.Credentials)
}

func (p *patient) clock(context.Context) Finding {
	if p.said.IsZero() {
		return notTried("the store has not said what time it is")
	}
	// The store says it in whole seconds, at some moment between the two.
	skew := time.Duration(0)
	if early := p.said.Add(time.Second).Sub(p.heardFrom); early < 0 {
		skew = -early // this machine is ahead
	} else if late := p.said.Sub(p.heardTo); late > 0 {
		skew = -late
	}
	if skew.Abs() > time.Minute {
		skew = skew.Round(time.Minute)
	}
	side := "ahead of"
	if skew < 0 {
		side = "behind"
	}
	found := fmt.Sprintf("this machine's clock is %s %s the store's", age(skew), side)
	switch {
	case skew.Abs() > p.cfg.Limits.Refused:
		return failed(found+": S3 refuses requests that differ by so much, and a restore to a time means another moment", setClock)
	case skew.Abs() > p.cfg.Limits.Skew:
		return warn(found+": a restore to a time means another moment than you think", setClock)
	case skew == 0:
		return okay("this machine's clock and the store's agree to the second")
	}
	return okay(found)
}
