package s3store

import (
	"fmt"
	"log/slog"
	"net/url"
)

// Format implements [fmt.Formatter]: no verb prints the secret key or the session
// token, nor a password in the endpoint's URL.
func (cfg Config) Format(f fmt.State, verb rune) {
	type plain Config
	for _, secret := range []*string{&cfg.SecretAccessKey, &cfg.SessionToken} {
		if *secret != "" {
			*secret = "(hidden)"
		}
	}
	if u, err := url.Parse(cfg.Endpoint); err != nil || u.User != nil || u.RawQuery != "" || u.Opaque != "" {
		cfg.Endpoint = "(hidden)" // New refuses it
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(cfg))
}

// LogValue implements [slog.LogValuer], and has none of these in it.
func (cfg Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf("%+v", cfg)) }
