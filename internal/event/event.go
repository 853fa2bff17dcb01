// Package event defines the events that can happen in the background. Its methods require
// a kind for each event.
package event

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"time"
)

// Kind is the kind of an event. It begins with the event's scope, which is the part of
// DriftDB where it happened.
type Kind string

// Scope returns the part of the kind before the dot.
func (k Kind) Scope() string {
	scope, _, _ := strings.Cut(string(k), ".")
	return scope
}

// The attributes that identify a record.
const (
	ScopeKey = "scope"
	KindKey  = "kind"
)

// Log makes records of events. Its zero value is not usable; see To.
type Log struct{ handler slog.Handler }

// To returns a log that sends its records to h.
func To(h slog.Handler) Log { return Log{h} }

// Handler returns the handler that gets the records.
func (l Log) Handler() slog.Handler { return l.handler }

// Debug logs an event that only concerns developers.
func (l Log) Debug(k Kind, msg string, args ...any) { l.log(slog.LevelDebug, k, msg, args) }

// Info logs a normal event.
func (l Log) Info(k Kind, msg string, args ...any) { l.log(slog.LevelInfo, k, msg, args) }

// Warn logs a problem that may pass by itself, or that the user should know about.
func (l Log) Warn(k Kind, msg string, args ...any) { l.log(slog.LevelWarn, k, msg, args) }

// Error logs a problem that needs the user.
func (l Log) Error(k Kind, msg string, args ...any) { l.log(slog.LevelError, k, msg, args) }

// log must be called directly by the methods above: their caller is the record's source.
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
