package s3store

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/driftdb/driftdb-go/objstore"
)

// isolate keeps the AWS configuration of this machine out of a test.
func isolate(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
	} {
		t.Setenv(name, value)
	}
}

func TestConfig(t *testing.T) {
	isolate(t)
	yes, no := true, false
	for _, c := range []struct {
		name      string
		cfg       Config
		env       string // AWS_ENDPOINT_URL_S3
		region    string
		pathStyle bool
	}{
		{"amazon", Config{Region: "eu-west-1"}, "", "eu-west-1", false},
		{"amazon, path style", Config{Region: "eu-west-1", ForcePathStyle: &yes}, "", "eu-west-1", true},
		{"endpoint", Config{Endpoint: "https://s3.example.com"}, "", "us-east-1", true},
		{"endpoint, host style", Config{Endpoint: "https://s3.example.com", ForcePathStyle: &no}, "", "us-east-1", false},
		{"endpoint and region", Config{Endpoint: "http://127.0.0.1:9000", Region: "auto"}, "", "auto", true},
		{"endpoint of the environment", Config{}, "https://s3.example.com", "us-east-1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("AWS_ENDPOINT_URL_S3", c.env)
			}
			c.cfg.Bucket = "b"
			o := newStore(t, c.cfg).client.Options()
			if o.Region != c.region || o.UsePathStyle != c.pathStyle || aws.ToString(o.BaseEndpoint) != c.cfg.Endpoint+c.env {
				t.Errorf("region %q, path style %v, endpoint %q", o.Region, o.UsePathStyle, aws.ToString(o.BaseEndpoint))
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	isolate(t)
	for text, cfg := range map[string]Config{
		"Bucket":               {Region: "r"},
		"as the prefix":        {Region: "r", Bucket: "b/c"},
		"set Region":           {Bucket: "b"},
		"Prefix":               {Region: "r", Bucket: "b", Prefix: "a/../b"},
		"belong together":      {Region: "r", Bucket: "b", AccessKeyID: "id"},
		"SessionToken":         {Region: "r", Bucket: "b", SessionToken: "token"},
		"is no URL":            {Region: "r", Bucket: "b", Endpoint: "s3.example.com:9000"},
		"more than a scheme":   {Region: "r", Bucket: "b", Endpoint: "https://user:hunter2@s3.example.com"},
		"more than a scheme, ": {Region: "r", Bucket: "b", Endpoint: "https://s3.example.com?password=hunter2"},
		`choose one of`:        {Region: "r", Bucket: "b", ServerSideEncryption: "aes256"},
		`"aws:kms:dsse"`:       {Region: "r", Bucket: "b", KMSKeyID: "alias/a"},
		`needs the ServerSide`: {Region: "r", Bucket: "b", KMSKeyID: "alias/a", ServerSideEncryption: "AES256"},
		"KMSKeyID has":         {Region: "r", Bucket: "b", KMSKeyID: "a b", ServerSideEncryption: "aws:kms"},
		"StorageClass has":     {Region: "r", Bucket: "b", StorageClass: "STANDARD\r\n"},
		"StorageClass GLACIER": {Region: "r", Bucket: "b", StorageClass: "GLACIER"},
		"Class deep_archive":   {Region: "r", Bucket: "b", StorageClass: "deep_archive"},
	} {
		_, err := New(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(text, ", ")) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("New(%+v): %v, want %q", cfg, err, text)
		}
	}
}

func TestOpen(t *testing.T) {
	isolate(t)
	s, err := objstore.Open(t.Context(), "s3://buck.et/some/prefix?region=eu-west-1&endpoint=http%3A%2F%2F127.0.0.1%3A9000&path_style=false&checksums=false")
	if err != nil {
		t.Fatal(err)
	}
	got := s.(*store)
	o := got.client.Options()
	if got.bucket != "buck.et" || got.prefix != "some/prefix/" || got.checksums || o.UsePathStyle || o.Region != "eu-west-1" ||
		aws.ToString(o.BaseEndpoint) != "http://127.0.0.1:9000" {
		t.Errorf("%+v, %+v", got, o)
	}
	if s, err := objstore.Open(t.Context(), "s3://bucket?region=eu-west-1"); err != nil || s.(*store).prefix != "driftdb/" || !s.(*store).checksums {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = objstore.Open(t.Context(), "s3://bucket?region=a&sse=aws:kms&kms_key_id=arn:aws:kms:eu-west-1:1:key/a&storage_class=GLACIER_IR")
	if err != nil {
		t.Fatal(err)
	}
	if e := s.(*store).extras; e.encryption != "aws:kms" || aws.ToString(e.kmsKey) != "arn:aws:kms:eu-west-1:1:key/a" || e.class != "GLACIER_IR" {
		t.Errorf("%+v", e)
	}
	for u, text := range map[string]string{
		"s3:///prefix":                          "has no bucket",
		"s3:bucket":                             "has no bucket",
		"s3://b?regoin=eu":                      `unknown parameter "regoin"`,
		"s3://b?region=a&region=b":              "2 times",
		"s3://b?region=a&path_style=maybe":      "path_style",
		"s3://b?region=a&checksums=":            "checksums",
		"s3://b?region=%zz":                     "parameters",
		"s3://id:hunter2@b?region=a":            "user name",
		"s3://b":                                "?region=",
		"s3://b?region=a&secret_key=hunter2":    `"secret_key"`,
		"s3://b?region=a&session_token=hunter2": `"session_token"`,
		"s3://b?region=a&sse=rot13":             "rot13",
		"s3://b?region=a&kms_key_id=k":          "needs",
		"s3://b?region=a&storage_class=GLACIER": "GLACIER_IR",
		"s3://b?region=a#fragment":              "fragment",
		"s3://b?region=a&endpoint=example.com":  "Endpoint",
		"s3://b/a//b?region=a":                  "Prefix",
		"s3://b/a?region=a&prefix=b":            "both in its path and as a parameter",
		"s3://b?region=a&prefix=":               "prefix=/ for the root",
	} {
		if _, err := objstore.Open(t.Context(), u); err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q): %v, want %q", u, err, text)
		}
	}
}

func TestPartSizes(t *testing.T) {
	var total int64
	for n := range int32(10_000) {
		size := partSize(n + 1)
		if size < 5<<20 || size > 5<<30 {
			t.Fatalf("part %d has %d bytes; S3 wants 5 MiB to 5 GiB", n+1, size)
		}
		total += size
	}
	if total < 5<<40 {
		t.Errorf("10,000 parts hold %d bytes, less than 5 TiB", total)
	}
	if got := []int64{partSize(1), partSize(1000), partSize(1001), partSize(2001)}; !slices.Equal(got, []int64{8 << 20, 8 << 20, 16 << 20, 32 << 20}) {
		t.Errorf("sizes %v", got)
	}
}

// TestURL: the URL of a configuration is that configuration, and says which prefix is meant.
func TestURL(t *testing.T) {
	isolate(t)
	yes := true
	for want, cfg := range map[string]Config{
		"s3://b?region=a":          {Region: "a"},
		"s3://b?prefix=/&region=a": {Region: "a", Prefix: "/"},
		"s3://b/x/y?region=a":      {Region: "a", Prefix: "/x/y/"},
		"s3://b/a%3Fb?region=a":    {Region: "a", Prefix: "a?b"},
		"s3://b?checksums=false&endpoint=http://h:1/p&kms_key_id=arn:k&path_style=true&prefix=/&region=a&sse=aws:kms&storage_class=GLACIER_IR": {
			Region: "a", Prefix: "/", Endpoint: "http://h:1/p", ForcePathStyle: &yes, DisableChecksums: true,
			ServerSideEncryption: "aws:kms", KMSKeyID: "arn:k", StorageClass: "GLACIER_IR",
		},
	} {
		cfg.Bucket = "b"
		if got := cfg.URL(); got != want {
			t.Errorf("%+v: %s, want %s", cfg, got, want)
		}
		direct := newStore(t, cfg)
		s, err := objstore.Open(t.Context(), want)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := s.(*store); got.prefix != direct.prefix || got.places != direct.places {
			t.Errorf("%s: prefixes %q and %q, places %+v and %+v", want, got.prefix, direct.prefix, got.places, direct.places)
		}
	}
}

// TestElsewhere: the root and the default prefix are each other's other place. A
// prefix that somebody chose has none.
func TestElsewhere(t *testing.T) {
	isolate(t)
	for from, want := range map[string]string{
		"s3://b?region=a": "s3://b?prefix=/&region=a", "s3://b?prefix=/&region=a": "s3://b?region=a", "s3://b/own?region=a": "",
	} {
		s, err := objstore.Open(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		other, at := Elsewhere(s)
		if want == "" {
			if other != nil {
				t.Errorf("%s: %s", from, at.URL)
			}
			continue
		}
		back, again := Elsewhere(other)
		if at.URL != want || again.URL != from || back.(*store).prefix != s.(*store).prefix {
			t.Errorf("%s: %s, and back %s", from, at.URL, again.URL)
		}
	}
	if other, _ := Elsewhere(objstore.Mem()); other != nil {
		t.Error("a store in memory has no other place")
	}
}
