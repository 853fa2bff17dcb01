package driftotel

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// spanNames are the names of the spans that end with an event.
var spanNames = map[driftdb.EventKind]string{
	driftdb.EventBatchUploaded:  "driftdb.upload",
	driftdb.EventSnapshotStored: "driftdb.snapshot",
	driftdb.EventRestored:       "driftdb.restore",
}

// Spans returns a function for Config.OnEvent that makes spans of events:
//
//   - driftdb.upload: a batch, from the beginning of its upload until the file has noted it;
//   - driftdb.snapshot: from fixing the state until the manifest names the snapshot;
//   - driftdb.restore: the restore of a missing file, or of one that is behind, by Open;
//   - driftdb.sync, with an error: a round of syncing that failed.
//
// A span ends when its event comes, and begins when the work began. It has no parent, since
// what happens in the background serves many calls. Its attributes are those given here
// and, with the prefix driftdb., the event's that are numbers or texts.
//
// A Config with OnEvent but without Logger logs nothing: set Logger as well. To receive the
// events yourself, call the function from your own OnEvent.
func Spans(provider trace.TracerProvider, attrs ...attribute.KeyValue) func(driftdb.Event) {
	tracer := provider.Tracer(scope)
	return func(e driftdb.Event) {
		took, ok := e.Attrs["took"].(time.Duration)
		if !ok {
			return
		}
		name, failed := spanNames[e.Kind], error(nil)
		if name == "" {
			if failed, ok = e.Attrs["error"].(error); !ok || e.Scope != driftdb.ScopeSync {
				return
			}
			name = "driftdb.sync"
		}
		_, span := tracer.Start(context.Background(), name, trace.WithNewRoot(), trace.WithTimestamp(e.Time.Add(-took)),
			trace.WithAttributes(slices.Concat(attrs, attributes(e))...))
		if failed != nil {
			span.RecordError(failed, trace.WithTimestamp(e.Time))
			span.SetStatus(codes.Error, e.Message)
		}
		span.End(trace.WithTimestamp(e.Time))
	}
}

// attributes are those of the event that a backend can search.
func attributes(e driftdb.Event) (out []attribute.KeyValue) {
	out = append(out, attribute.String("driftdb.event", string(e.Kind)))
	for key, value := range e.Attrs {
		switch v := value.(type) {
		case int64:
			out = append(out, attribute.Int64("driftdb."+key, v))
		case string:
			out = append(out, attribute.String("driftdb."+key, v))
		case fmt.Stringer, error: // took is the span's length, error its status
		default:
		}
	}
	return out
}
