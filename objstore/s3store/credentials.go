package s3store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// renewPause is how long to wait before reading the AWS configuration again after it
	// brought nothing new: a wrong key fails every request.
	renewPause = 5 * time.Second
	// renewTimeout bounds reading the configuration, which may ask services for
	// credentials.
	renewTimeout = 10 * time.Second
)

// outdated are the codes with which servers ask for other credentials, because these have
// expired or are no longer known.
var outdated = []string{
	"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken",
	"InvalidAccessKeyId", "XAdminUserNotFound", // versitygw's word for the same
}

// renewal provides the credentials of the AWS configuration. When a server refuses them,
// it reads the configuration again and repeats the request. The SDK reads the keys in a
// file only once, but other programs put new keys there.
type renewal struct {
	load func(context.Context) (aws.CredentialsProvider, error)

	mu      sync.Mutex
	current aws.CredentialsProvider

	// turn lets one request at a time renew. Its holder may use fruitless: when the
	// configuration was last read without bringing anything new.
	turn      chan struct{}
	fruitless time.Time
}

func newRenewal(first aws.CredentialsProvider, load func(context.Context) (aws.CredentialsProvider, error)) *renewal {
	return &renewal{load: load, current: first, turn: make(chan struct{}, 1)}
}

// usedKey is the context key of the variable in which Retrieve records the credentials it
// has returned.
type usedKey struct{}

// Retrieve implements [aws.CredentialsProvider].
func (r *renewal) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := r.provider().Retrieve(ctx)
	if used, ok := ctx.Value(usedKey{}).(*aws.Credentials); ok {
		*used = creds
	}
	return creds, err
}

// install adds r to the steps of each request, outside the SDK's own retries, so that the
// repeated request is signed again.
func (r *renewal) install(stack *middleware.Stack) error {
	return stack.Finalize.Insert(r, "Retry", middleware.Before)
}

// ID implements [middleware.FinalizeMiddleware].
func (r *renewal) ID() string { return "RenewCredentials" }

// HandleFinalize implements [middleware.FinalizeMiddleware].
func (r *renewal) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	var used aws.Credentials
	out, metadata, err := next.HandleFinalize(context.WithValue(ctx, usedKey{}, &used), in)
	if !isOutdated(err) || !r.renew(ctx, used) {
		return out, metadata, err
	}
	if request, ok := in.Request.(*smithyhttp.Request); !ok || request.RewindStream() != nil {
		return out, metadata, err
	}
	return next.HandleFinalize(ctx, in)
}

func isOutdated(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(outdated, api.ErrorCode())
}

// renew reports whether there are other credentials than the ones used. When many requests
// are refused at once, one of them reads the configuration, and the others use its result.
func (r *renewal) renew(ctx context.Context, used aws.Credentials) bool {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-r.turn }()
	if isOther(ctx, r.provider(), used) {
		return true
	}
	if !r.fruitless.IsZero() && time.Since(r.fruitless) < renewPause {
		return false
	}
	fresh, err := r.load(ctx)
	if err != nil || !isOther(ctx, fresh, used) {
		r.fruitless = time.Now()
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.fruitless = fresh, time.Time{}
	return true
}

func (r *renewal) provider() aws.CredentialsProvider {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// isOther reports whether a provider has other keys than the ones used.
func isOther(ctx context.Context, provider aws.CredentialsProvider, used aws.Credentials) bool {
	creds, err := provider.Retrieve(ctx)
	return err == nil && (creds.AccessKeyID != used.AccessKeyID ||
		creds.SecretAccessKey != used.SecretAccessKey || creds.SessionToken != used.SessionToken)
}
