package retry

import (
	"context"
	"errors"
	"net"

	"github.com/driftdb/driftdb-go/objstore"
)

type hurry struct{}

// Hurried returns a context for anyone who would rather know at once that there is no way
// to the store: with it, an endpoint that refuses the connection, or has no address, is
// not tried again. What a store answers still is.
func Hurried(ctx context.Context) context.Context { return context.WithValue(ctx, hurry{}, true) }

// hopeless reports whether err ends an undertaking of somebody in a hurry.
func hopeless(ctx context.Context, err error) bool {
	if ctx.Value(hurry{}) == nil {
		return false
	}
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial" || errors.Is(err, objstore.ErrUnreachable)
}
