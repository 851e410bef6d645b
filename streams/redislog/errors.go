package redislog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// ErrTooOld reports a Redis before 7.0, which has no sharded pub/sub.
var ErrTooOld = errors.New("redis 7.0 or newer is needed")

// ErrSettings reports a Redis that is there and that the settings are not for: it
// is of another shape than the URL's, or its user may not do what is needed. The
// text says what to set.
var ErrSettings = errors.New("the settings do not fit this Redis")

// unavailable are the first words of the errors by which Redis says that it can't
// answer now. All other errors are answers.
var unavailable = []string{
	"LOADING",     // its data, after a start
	"MASTERDOWN",  // a replica without its master
	"CLUSTERDOWN", // no majority, or a slot without a node
	"TRYAGAIN",    // a slot on the move
	"MOVED",       // more moves in a row than the client follows
	"ASK",
	"BUSY", // with a script
	"ERR max number of clients",
}

// explain gives an error of Redis or of the client the sentinel that says what to
// do about it. An answer of Redis that it will not do something is ErrRefused.
func explain(err error) error {
	var answer redis.Error
	switch {
	case err == nil || ours(err):
		return err
	case redis.HasErrorPrefix(err, errMismatch):
		return fmt.Errorf("%w: %s", streams.ErrMismatch, strings.TrimPrefix(err.Error(), errMismatch+" "))
	case redis.HasErrorPrefix(err, errVersion):
		return ErrTooOld
	case errors.As(err, &answer) && !sayingLater(err):
		return fmt.Errorf("%w: %w", streams.ErrRefused, err)
	default:
		return fmt.Errorf("%w: %w", streams.ErrUnavailable, err)
	}
}

// ours reports whether err says what to do already.
func ours(err error) bool {
	for _, known := range []error{
		streams.ErrUnavailable, streams.ErrRefused, streams.ErrClosed, streams.ErrMismatch, streams.ErrDurability, ErrTooOld, ErrSettings,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func sayingLater(err error) bool {
	for _, prefix := range unavailable {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// permanent reports whether only an operator can help: waiting for Redis, as Open
// does with all other errors, would hide a mistake in the settings.
func permanent(err error) bool {
	return errors.Is(err, streams.ErrMismatch) || errors.Is(err, streams.ErrDurability) || errors.Is(err, ErrTooOld) ||
		errors.Is(err, ErrSettings) || refusedByTLS(err) ||
		redis.IsAuthError(err) || redis.IsPermissionError(err) ||
		redis.HasErrorPrefix(err, "The user executing the script") // may not do something, says Redis 7.0
}

// reading turns an explained error into one that a read may return.
func reading(err error) error {
	if err == nil || errors.Is(err, streams.ErrUnavailable) || errors.Is(err, streams.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", streams.ErrUnavailable, err)
}

// appending turns an explained error into one that a receipt may have.
func appending(err error) error {
	for _, known := range []error{streams.ErrUnavailable, streams.ErrRefused, streams.ErrDurability, streams.ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", streams.ErrRefused, err)
}
