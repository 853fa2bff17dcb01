package retry

import "context"

type told struct{}

// Telling returns a context for callers who want to know why an operation takes long:
// tell gets the error of every attempt that is going to be repeated.
func Telling(ctx context.Context, tell func(error)) context.Context {
	return context.WithValue(ctx, told{}, tell)
}

func tell(ctx context.Context, err error) {
	if fn, ok := ctx.Value(told{}).(func(error)); ok {
		fn(err)
	}
}
