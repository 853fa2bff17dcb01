// Package event knows what can happen in the background: each event has a kind, or does
// not compile.
package event

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"time"
)

// Kind says what has happened. It begins with its scope: the part of DriftDB where it did.
type Kind string

// Scope is what comes before the kind's dot.
func (k Kind) Scope() string {
	scope, _, _ := strings.Cut(string(k), ".")
	return scope
}

// The attributes of a record that say what it is.
const (
	ScopeKey = "scope"
	KindKey  = "kind"
)

// Log makes records of events. Its zero value is of no use: see To.
type Log struct{ handler slog.Handler }

// To returns a log whose records h gets.
func To(h slog.Handler) Log { return Log{h} }

// Handler is the one that gets the records.
func (l Log) Handler() slog.Handler { return l.handler }

// Debug logs what is not an event for anybody but a developer.
func (l Log) Debug(k Kind, msg string, args ...any) { l.log(slog.LevelDebug, k, msg, args) }

// Info logs what is as it should be.
func (l Log) Info(k Kind, msg string, args ...any) { l.log(slog.LevelInfo, k, msg, args) }

// Warn logs what will pass, or is to be known.
func (l Log) Warn(k Kind, msg string, args ...any) { l.log(slog.LevelWarn, k, msg, args) }

// Error logs what does not pass without somebody's help.
func (l Log) Error(k Kind, msg string, args ...any) { l.log(slog.LevelError, k, msg, args) }

// log is called by one of the above, whose caller is the record's source.
func (l Log) log(level slog.Level, k Kind, msg string, args []any) {
	ctx := context.Background()
	if !l.handler.Enabled(ctx, level) {
		return
	}
	var caller [1]uintptr
	runtime.Callers(3, caller[:])
	r := slog.NewRecord(time.Now(), level, msg, caller[0])
	r.AddAttrs(slog.String(ScopeKey, k.Scope()), slog.String(KindKey, string(k)))
	r.Add(args...)
	_ = l.handler.Handle(ctx, r) // a log that fails has nobody to tell
}
