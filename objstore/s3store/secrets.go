package s3store

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
)

// hide returns cfg with text in place of the secret key and the session token, and of an
// endpoint whose URL may contain a password.
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

// Format implements [fmt.Formatter]: no verb prints the secret key, the session token or
// a password in the endpoint's URL.
func (cfg Config) Format(f fmt.State, verb rune) {
	type plain Config
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(cfg.hide("(hidden)")))
}

// LogValue implements [slog.LogValuer], without these secrets.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf("%+v", cfg)) }

// MarshalJSON implements [json.Marshaler]. It leaves these secrets out. Unmarshaling does
// read them, so a program that stores its own configuration must write those fields
// itself.
func (cfg Config) MarshalJSON() ([]byte, error) {
	type plain Config
	return json.Marshal(plain(cfg.hide("")))
}
