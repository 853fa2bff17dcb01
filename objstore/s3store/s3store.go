// Package s3store keeps objects in Amazon S3 or a service that speaks its protocol.
// Importing it also makes [objstore.Open] accept s3:// URLs:
//
//	s3://bucket?region=eu-west-1
//	s3://bucket/prefix?endpoint=https://s3.example.com&path_style=true&checksums=false
//	s3://bucket/prefix?sse=aws:kms&kms_key_id=1234abcd-…&storage_class=STANDARD_IA
//
// Without a prefix, keys begin with [DefaultPrefix]; prefix=/ is the root of the bucket.
//
// There are no parameters for credentials: they come from the AWS chain, see [Config].
//
// Every store call is one HTTP request, except large Puts, which are sent in parts, and
// Lists, which take one request for each 1000 keys. The package retries only what a
// caller cannot: it sends a part again from its buffer. If a request is refused because
// this machine's clock is wrong, it signs the request again with the server's time; if
// the credentials are outdated, it signs it again with those that the AWS configuration
// has by then.
package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/driftdb/driftdb-go/objstore"
)

func init() { objstore.Register("s3", open) }

// DefaultPrefix is the prefix of a store if its Config or URL has none.
const DefaultPrefix = "driftdb"

// Config says where a bucket is and how to reach it. Only Bucket is required.
type Config struct {
	// Bucket is the name of an existing bucket.
	Bucket string
	// Prefix is prepended to every key, followed by a slash. Default [DefaultPrefix]; "/"
	// is the root of the bucket, without a prefix.
	Prefix string
	// Region is the bucket's region. Default: the environment's or the AWS profile's, or
	// us-east-1 if Endpoint is set.
	Region string
	// AccessKeyID, SecretAccessKey and, for temporary credentials, SessionToken. Default:
	// the AWS chain of environment, profile, web identity, container and instance role.
	// That chain is read again when the server says that the credentials have expired or
	// are unknown, so a program can keep running when a key is rotated. Keys given here
	// never change.
	AccessKeyID, SecretAccessKey, SessionToken string
	// Endpoint is the URL of a service other than Amazon's, such as
	// https://s3.example.com. Default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL,
	// the profile's, or Amazon's for the region.
	Endpoint string
	// ForcePathStyle puts the bucket in the path, not in the host name. Default true if
	// Endpoint is set.
	ForcePathStyle *bool
	// DisableChecksums neither sends nor asks for a CRC-32, for services that do not know
	// the header. Default false.
	DisableChecksums bool
	// ServerSideEncryption is how S3 encrypts stored objects: "AES256", "aws:kms" or
	// "aws:kms:dsse". Default: the bucket's own setting. A bucket whose policy requires
	// encryption may refuse a Put that does not ask for it.
	ServerSideEncryption string
	// KMSKeyID is the ID, alias or ARN of the KMS key; it needs one of the two aws:kms
	// modes. Default: the bucket's key, or AWS's own key for S3.
	KMSKeyID string
	// StorageClass of stored objects, such as "STANDARD_IA". Default: the service's,
	// which is STANDARD for Amazon. "GLACIER" and "DEEP_ARCHIVE" are refused, because
	// objects in them cannot be read at once; neither can objects that the bucket's own
	// rules move to an archive. Classes with a minimum charge for days or size suit a
	// database badly, because most of its objects are small and soon replaced.
	StorageClass string
}

// New returns the store in a bucket. It reads the AWS configuration files and does not
// use the network: only the first call shows whether the bucket exists. It honours the
// environment variables that every AWS tool does, including AWS_PROFILE, AWS_CA_BUNDLE
// and HTTPS_PROXY.
func New(ctx context.Context, cfg Config) (objstore.Store, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	prefix := strings.Trim(cfg.Prefix, "/")
	if err := errors.Join(cfg.Problems()...); err != nil {
		return nil, fmt.Errorf("s3store: %w", err)
	}
	client, err := newClient(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		prefix += "/"
	}
	return &store{
		places: cfg.places(), client: client, bucket: cfg.Bucket, prefix: prefix, pageSize: maxPage,
		checksums: !cfg.DisableChecksums, ownKeys: cfg.hasKeys(), extras: cfg.extras(),
	}, nil
}

func (cfg Config) hasKeys() bool { return cfg.AccessKeyID != "" }

// Problems returns the errors for which New would refuse cfg. Each begins with the name
// of a field.
func (cfg Config) Problems() []error {
	var p problems
	p.when(cfg.Bucket == "" || strings.Contains(cfg.Bucket, "/"),
		"Bucket %q is empty or has a slash; give the bucket's name, and a folder in it as the prefix", cfg.Bucket)
	if prefix := strings.Trim(cfg.Prefix, "/"); prefix != "" {
		err := objstore.ValidKey(prefix)
		p.when(err != nil, "Prefix: %w", err)
	}
	p.when((cfg.AccessKeyID == "") != (cfg.SecretAccessKey == ""),
		"AccessKeyID and SecretAccessKey belong together; set both or neither")
	p.when(cfg.SessionToken != "" && cfg.AccessKeyID == "", "SessionToken needs its AccessKeyID and SecretAccessKey")
	if cfg.Endpoint != "" { // messages leave it out: it may hold a password
		u, err := url.Parse(cfg.Endpoint)
		ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
		p.when(!ok, "Endpoint is no URL such as https://s3.example.com")
		p.when(ok && (u.User != nil || u.RawQuery != "" || u.Fragment != ""),
			"Endpoint has more than a scheme, a host and a path; credentials belong into their own fields")
	}
	cfg.checkExtras(&p)
	return p
}

// problems are the faults of a configuration.
type problems []error

// when adds a problem if the condition is true.
func (p *problems) when(is bool, format string, args ...any) {
	if is {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

func newClient(ctx context.Context, cfg Config) (*s3.Client, error) {
	load := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithHTTPClient(newHTTPClient(idleTimeout)),
		awsconfig.WithLogger(logging.Nop{}),
	}
	if cfg.Region != "" {
		load = append(load, awsconfig.WithRegion(cfg.Region))
	}
	if cfg.hasKeys() {
		load = append(load, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(cfg.AccessKeyID, cfg.SecretAccessKey, cfg.SessionToken)))
	}
	shared, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("s3store: read the AWS configuration: %w", err)
	}
	if !cfg.hasKeys() {
		renewal := newRenewal(shared.Credentials, func(ctx context.Context) (aws.CredentialsProvider, error) {
			again, err := awsconfig.LoadDefaultConfig(ctx, load...)
			return again.Credentials, err
		})
		shared.Credentials = renewal
		shared.APIOptions = append(shared.APIOptions, renewal.install)
	}
	client := s3.NewFromConfig(shared, cfg.apply)
	if client.Options().Region == "" {
		return nil, fmt.Errorf("s3store: no region for bucket %s; set Region (in a URL: ?region=), AWS_REGION, or one in the AWS profile", cfg.Bucket)
	}
	return client, nil
}

// apply sets the options of a client. They already hold the settings of the environment
// and the profile.
func (cfg Config) apply(o *s3.Options) {
	if cfg.Endpoint != "" {
		o.BaseEndpoint = aws.String(cfg.Endpoint)
	}
	custom := aws.ToString(o.BaseEndpoint) != ""
	if o.Region == "" && custom {
		o.Region = "us-east-1"
	}
	o.UsePathStyle = custom
	if cfg.ForcePathStyle != nil {
		o.UsePathStyle = *cfg.ForcePathStyle
	}
	// Requests carry a CRC-32 that put.go computes. By default the SDK would send it over
	// https as the trailer of an aws-chunked body, which many compatible services reject.
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenSupported
	if cfg.DisableChecksums {
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	o.Retryer, o.RetryMaxAttempts = skewRetryer{}, 0
	o.APIOptions = append(o.APIOptions, genuine)
}

// skewRetryer repeats a request once if this machine's clock was wrong: by then the SDK
// knows the server's time. All other retries are left to the caller, so that one place
// decides how long to wait and when to give up.
type skewRetryer struct{ aws.NopRetryer }

func (skewRetryer) MaxAttempts() int { return 2 }

func (skewRetryer) RetryDelay(int, error) (time.Duration, error) { return 0, nil }

func (skewRetryer) IsErrorRetryable(err error) bool {
	return retry.RetryableError{}.IsErrorRetryable(err) == aws.TrueTernary
}

// store is a bucket, or the part of one below a prefix.
type store struct {
	places    [2]Place // the bucket's root, and DefaultPrefix in it
	client    *s3.Client
	bucket    string
	prefix    string // empty, or ends with a slash
	checksums bool
	ownKeys   bool // from the Config, not from the AWS chain
	extras    extras
	pageSize  int32
}

// object returns the bucket and object name for requests about key.
func (s *store) object(key string) (bucket, name *string) {
	return aws.String(s.bucket), aws.String(s.prefix + key)
}
