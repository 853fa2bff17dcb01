package retry

import (
	"context"
	"errors"
	"net"

	"github.com/driftdb/driftdb-go/objstore"
)

type hurry struct{}

// Hurried returns a context for callers that prefer to know at once that the store is
// unreachable. With it, an endpoint that refuses the connection or has no address is not
// retried. Errors that a store answers with still are.
func Hurried(ctx context.Context) context.Context { return context.WithValue(ctx, hurry{}, true) }

// hopeless reports whether err ends an operation under a Hurried context.
func hopeless(ctx context.Context, err error) bool {
	if ctx.Value(hurry{}) == nil {
		return false
	}
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial" || errors.Is(err, objstore.ErrUnreachable)
}
