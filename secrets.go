package driftdb

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
)

// Configurations hold secrets and end up in logs, so no way of printing one shows its keys
// and passwords. A program that wants to store them reads the fields.

// withoutSecrets prints v, which has no secrets and no methods.
func withoutSecrets(f fmt.State, verb rune, v any) { fmt.Fprintf(f, fmt.FormatString(f, verb), v) }

// logged returns a configuration as a log value.
func logged(v fmt.Formatter) slog.Value { return slog.StringValue(fmt.Sprintf("%+v", v)) }

const hidden = "(hidden)"

// hide returns a placeholder for each key.
func hide(keys []string) []string { return slices.Repeat([]string{hidden}, len(keys)) }

// Format implements [fmt.Formatter]: no verb prints a key, a password or HeartbeatURL.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config
	c.EncryptionKeys = hide(c.EncryptionKeys)
	if c.HeartbeatURL != "" {
		c.HeartbeatURL = hidden
	}
	withoutSecrets(f, verb, plain(c))
}

// LogValue implements [slog.LogValuer], without keys and passwords.
func (c Config) LogValue() slog.Value { return logged(c) }

// Format implements [fmt.Formatter]: no verb prints a key or a password.
func (cfg BackupConfig) Format(f fmt.State, verb rune) {
	type plain BackupConfig
	cfg.EncryptionKeys = hide(cfg.EncryptionKeys)
	withoutSecrets(f, verb, plain(cfg))
}

// LogValue implements [slog.LogValuer], without keys and passwords.
func (cfg BackupConfig) LogValue() slog.Value { return logged(cfg) }

// Format implements [fmt.Formatter]: no verb prints a key or a password.
func (cfg RestoreConfig) Format(f fmt.State, verb rune) {
	type plain RestoreConfig
	cfg.EncryptionKeys = hide(cfg.EncryptionKeys)
	withoutSecrets(f, verb, plain(cfg))
}

// LogValue implements [slog.LogValuer], without keys and passwords.
func (cfg RestoreConfig) LogValue() slog.Value { return logged(cfg) }

// Format implements [fmt.Formatter]: no verb prints a key or a password.
func (cfg ResolveConfig) Format(f fmt.State, verb rune) {
	type plain ResolveConfig
	cfg.EncryptionKeys = hide(cfg.EncryptionKeys)
	withoutSecrets(f, verb, plain(cfg))
}

// LogValue implements [slog.LogValuer], without keys and passwords.
func (cfg ResolveConfig) LogValue() slog.Value { return logged(cfg) }

// Format implements [fmt.Formatter]: no verb prints a key or a password.
func (c S3Config) Format(f fmt.State, verb rune) { c.bucket().Format(f, verb) }

// LogValue implements [slog.LogValuer], without keys and passwords.
func (c S3Config) LogValue() slog.Value { return logged(c) }

// MarshalJSON implements [json.Marshaler]. It leaves out the secret key and the session
// token. Unmarshaling does read them, so a program that stores its own configuration must
// write those two fields itself.
func (c S3Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.bucket()) }
