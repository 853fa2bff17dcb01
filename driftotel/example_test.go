package driftotel_test

import (
	"context"
	"log/slog"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/driftotel"
	"go.opentelemetry.io/otel"
)

func ExampleObserve() {
	_ = func(ctx context.Context, s3 driftdb.S3Config) error { // compiled, and not run
		db, err := driftdb.Open(ctx, driftdb.Config{
			Name: "app", Path: "app.sqlite", S3: &s3,
			OnEvent: driftotel.Spans(otel.GetTracerProvider()),
			Logger:  slog.Default(), // with OnEvent alone, nothing is logged
		})
		if err != nil {
			return err
		}
		defer db.Close()
		observer, err := driftotel.Observe(otel.GetMeterProvider(), driftotel.Options{}, driftotel.Source{Name: "app", DB: db})
		if err != nil {
			return err
		}
		defer observer.Close()
		return nil
	}
}
