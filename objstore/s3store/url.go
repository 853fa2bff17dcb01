package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/objstore"
)

// open creates a store from an s3:// URL.
func open(ctx context.Context, u *url.URL) (objstore.Store, error) {
	if u.Opaque != "" || u.Host == "" {
		return nil, errors.New("s3store: the URL has no bucket; write s3://bucket/prefix")
	}
	cfg := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("s3store: parse the URL's parameters: %w", err)
	}
	for name, values := range query {
		if len(values) != 1 {
			return nil, fmt.Errorf("s3store: the URL has parameter %q %d times", name, len(values))
		}
		if err := cfg.setParameter(name, values[0]); err != nil {
			return nil, err
		}
	}
	return New(ctx, cfg)
}

const parameters = "prefix, region, endpoint, path_style, checksums, sse, kms_key_id, storage_class"

func (cfg *Config) setParameter(name, value string) error {
	switch name {
	case "prefix":
		switch {
		case cfg.Prefix != "":
			return errors.New("s3store: the URL has a prefix both in its path and as a parameter; choose one")
		case value == "":
			return errors.New("s3store: the URL's parameter prefix is empty; write prefix=/ for the root of the bucket")
		}
		cfg.Prefix = value
	case "region":
		cfg.Region = value
	case "endpoint":
		cfg.Endpoint = value
	case "sse":
		cfg.ServerSideEncryption = value
	case "kms_key_id":
		cfg.KMSKeyID = value
	case "storage_class":
		cfg.StorageClass = value
	case "path_style", "checksums":
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("s3store: the URL's parameter %s=%q is neither true nor false", name, value)
		}
		if name == "path_style" {
			cfg.ForcePathStyle = &on
		} else {
			cfg.DisableChecksums = !on
		}
	default:
		// The message leaves the value out: it may be a secret in the wrong place.
		return fmt.Errorf("s3store: unknown parameter %q in the URL (known: %s)", name, parameters)
	}
	return nil
}

// URL returns the URL with which [objstore.Open] opens the same store. It contains no
// credentials, because URLs cannot have them.
func (cfg Config) URL() string {
	u := url.URL{Scheme: "s3", Host: cfg.Bucket}
	query := url.Values{}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	if prefix := strings.Trim(cfg.Prefix, "/"); prefix != "" && prefix != DefaultPrefix {
		u.Path = "/" + prefix
	} else if cfg.Prefix != "" && prefix == "" {
		set("prefix", "/")
	}
	set("region", cfg.Region)
	set("endpoint", cfg.Endpoint)
	set("sse", cfg.ServerSideEncryption)
	set("kms_key_id", cfg.KMSKeyID)
	set("storage_class", cfg.StorageClass)
	if cfg.ForcePathStyle != nil {
		set("path_style", strconv.FormatBool(*cfg.ForcePathStyle))
	}
	if cfg.DisableChecksums {
		set("checksums", "false")
	}
	// Slashes and colons need no escaping in a query, and people read URLs.
	u.RawQuery = strings.NewReplacer("%2F", "/", "%3A", ":").Replace(query.Encode())
	return u.String()
}

// Place is a prefix in a bucket.
type Place struct {
	Prefix string // for Config.Prefix
	URL    string // for objstore.Open; it has no credentials
}

// places returns the places where databases are commonly kept: the root of the bucket, and
// DefaultPrefix.
func (cfg Config) places() (places [2]Place) {
	for i, prefix := range []string{"/", DefaultPrefix} {
		cfg.Prefix = prefix
		places[i] = Place{prefix, cfg.URL()}
	}
	return places
}

// Elsewhere returns the other place in a bucket where databases are commonly kept: the
// root for a store under [DefaultPrefix], and the other way round. For any other store it
// returns nil. It uses no network.
func Elsewhere(s objstore.Store) (objstore.Store, Place) {
	here, ok := s.(*store)
	if !ok {
		return nil, Place{}
	}
	there := *here
	switch here.prefix {
	case "":
		there.prefix = DefaultPrefix + "/"
		return &there, here.places[1]
	case DefaultPrefix + "/":
		there.prefix = ""
		return &there, here.places[0]
	}
	return nil, Place{}
}
