package s3store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/driftdb/driftdb-go/objstore"
)

// Visit is what a look at a bucket shows that the methods of a Store do not. It is for
// diagnosis.
type Visit struct {
	Host         string    // that was asked, with its port; empty if no request was sent
	Addresses    []string  // of the host, if its name was looked up for this request
	Region       string    // that requests are signed for
	BucketRegion string    // as the service says; empty if it does not
	Credentials  string    // where they come from; empty if there are none
	Plain        bool      // http, without TLS
	TLS          string    // the version of TLS, if a connection was made for this request
	Until        time.Time // when the server's certificate ends; zero if unknown

	// Date is the time of the answer by the service's clock, and Began and Ended are when the
	// request was sent and answered, by this machine's. Date is zero if there was no answer.
	Date, Began, Ended time.Time
}

// Look asks for the bucket itself, in one HEAD request, and for nothing in it. For a store
// other than one of New, ok is false. The Visit says what was found until the error, which is
// as that of a List.
func Look(ctx context.Context, from objstore.Store) (v Visit, ok bool, err error) {
	s, ok := from.(*store)
	if !ok {
		return v, false, nil
	}
	v.Region = s.client.Options().Region
	if provider := s.client.Options().Credentials; provider != nil {
		if c, err := provider.Retrieve(ctx); err == nil {
			v.Credentials = c.Source
		}
	}
	v.Began = time.Now()
	out, err := s.client.HeadBucket(v.trace(ctx), &s3.HeadBucketInput{Bucket: aws.String(s.bucket)})
	v.Ended = time.Now()
	var header http.Header
	if err == nil {
		if raw, ok := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response); ok {
			header = raw.Header
		}
	} else if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok && answer.Response != nil {
		header = answer.Response.Header
	}
	v.BucketRegion = header.Get("X-Amz-Bucket-Region")
	v.Date, _ = http.ParseTime(header.Get("Date")) // zero if it says none
	if err != nil {
		e := s.failed(ctx, "list", "", err, objstore.ErrNoBucket)
		if e.Status == http.StatusNotFound && e.kind == nil { // the answer to HEAD has no code
			e.kind, e.hint = objstore.ErrNoBucket, "create the bucket, or correct its name or the endpoint"
		}
		return v, true, e
	}
	return v, true, nil
}

// trace makes requests with ctx tell v how they were connected.
func (v *Visit) trace(ctx context.Context) context.Context {
	v.Plain = true
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(host string) { v.Host = host },
		DNSDone: func(found httptrace.DNSDoneInfo) {
			for _, a := range found.Addrs {
				v.Addresses = append(v.Addresses, a.String())
			}
		},
		GotConn: func(got httptrace.GotConnInfo) {
			secured, ok := got.Conn.(*tls.Conn)
			if !ok {
				return
			}
			state := secured.ConnectionState()
			v.Plain, v.TLS = false, tls.VersionName(state.Version)
			if len(state.PeerCertificates) > 0 {
				v.Until = state.PeerCertificates[0].NotAfter
			}
		},
	})
}

// Keeps says what a bucket keeps of objects that were replaced or deleted.
type Keeps struct {
	Versions bool // versioning is on
	Old      int  // versions below the store's prefix that are not the newest, and marks of deletions: up to 1,000
	Bytes    int64
	Expires  bool // a rule of the bucket removes old versions, of all objects or of some
}

// Kept asks for the versioning of the bucket; if it is on, for its rules, and for the first
// versions below prefix. It needs rights that DriftDB does not need otherwise:
// s3:GetBucketVersioning, s3:GetLifecycleConfiguration and s3:ListBucketVersions. For a store
// other than one of New, the error is errors.ErrUnsupported.
func Kept(ctx context.Context, from objstore.Store, prefix string) (k Keeps, err error) {
	s, ok := from.(*store)
	if !ok {
		return k, fmt.Errorf("look for versions: %w", errors.ErrUnsupported)
	}
	bucket := aws.String(s.bucket)
	state, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: bucket})
	if err != nil {
		return k, s.failed(ctx, "ask for the versioning of", "", err, nil)
	}
	if k.Versions = state.Status == types.BucketVersioningStatusEnabled; !k.Versions {
		return k, nil
	}
	rules, err := s.client.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: bucket})
	if err != nil {
		if e := s.failed(ctx, "ask for the rules of", "", err, nil); e.Code != "NoSuchLifecycleConfiguration" {
			return k, e
		}
	} else {
		for _, rule := range rules.Rules {
			k.Expires = k.Expires || rule.Status == types.ExpirationStatusEnabled && rule.NoncurrentVersionExpiration != nil
		}
	}
	page, err := s.client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket, Prefix: aws.String(s.prefix + prefix), MaxKeys: aws.Int32(maxPage)})
	if err != nil {
		return k, s.failed(ctx, "list the versions of", prefix, err, nil)
	}
	k.Old = len(page.DeleteMarkers)
	for _, version := range page.Versions {
		if !aws.ToBool(version.IsLatest) {
			k.Old, k.Bytes = k.Old+1, k.Bytes+aws.ToInt64(version.Size)
		}
	}
	return k, nil
}
