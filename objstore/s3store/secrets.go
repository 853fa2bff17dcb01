package s3store

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
)

// hide returns cfg with a text in the place of the secret key and the session token, and
// of an endpoint that has a password in its URL.
func (cfg Config) hide(text string) Config {
	for _, secret := range []*string{&cfg.SecretAccessKey, &cfg.SessionToken} {
		if *secret != "" {
			*secret = text
		}
	}
	if u, err := url.Parse(cfg.Endpoint); err != nil || u.User != nil || u.RawQuery != "" || u.Opaque != "" {
		cfg.Endpoint = text // New refuses it
	}
	return cfg
}

// Format implements [fmt.Formatter]: no verb prints the secret key or the session
// token, nor a password in the endpoint's URL.
func (cfg Config) Format(f fmt.State, verb rune) {
	type plain Config
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(cfg.hide("(hidden)")))
}

// LogValue implements [slog.LogValuer], and has none of these in it.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf("%+v", cfg)) }

// MarshalJSON implements [json.Marshaler], and leaves them out. What is read from JSON may
// have them: a program that writes a configuration for itself writes those fields.
func (cfg Config) MarshalJSON() ([]byte, error) {
	type plain Config
	return json.Marshal(plain(cfg.hide("")))
}
