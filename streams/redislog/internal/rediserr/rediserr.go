// Package rediserr classifies the errors of Redis and of its client by the action that
// they call for: wait, change the settings, or give up.
package rediserr

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/scripts"
)

var (
	// ErrTooOld reports a Redis older than 7.0, which has no sharded pub/sub.
	ErrTooOld = errors.New("this Redis is too old: Tidemark needs Redis 7.0 or newer")

	// ErrSettings reports a Redis that answers but does not match the settings: its
	// topology is not the URL's, or its user lacks a permission. The text says what to
	// change.
	ErrSettings = errors.New("the settings do not fit this Redis")
)

// temporary are the first words of the errors by which Redis says that it cannot answer
// now. Every other error of Redis is a definite answer.
var temporary = []string{
	"LOADING",     // Redis reads its data after a start
	"MASTERDOWN",  // a replica without its primary
	"CLUSTERDOWN", // no majority, or a slot without a node
	"TRYAGAIN",    // a slot is being moved
	"MOVED",       // more redirects in a row than the client follows
	"ASK",
	"BUSY", // Redis runs a script
	"ERR max number of clients",
}

// Explain wraps an error of Redis or of the client in the sentinel that tells the caller
// how to react. If Redis refuses a command for good, that is streams.ErrRefused.
func Explain(err error) error {
	var answer redis.Error
	switch {
	case err == nil || explained(err):
		return err
	case redis.HasErrorPrefix(err, scripts.Mismatch):
		return fmt.Errorf("%w: %s", streams.ErrMismatch, strings.TrimPrefix(err.Error(), scripts.Mismatch+" "))
	case redis.HasErrorPrefix(err, scripts.TooOld):
		return ErrTooOld
	case errors.As(err, &answer) && !hasPrefix(err, temporary):
		return fmt.Errorf("%w: %w", streams.ErrRefused, err)
	default:
		return fmt.Errorf("%w: %w", streams.ErrUnavailable, err)
	}
}

// explained reports whether err has a sentinel already.
func explained(err error) bool {
	for _, known := range []error{
		streams.ErrUnavailable, streams.ErrRefused, streams.ErrClosed, streams.ErrMismatch, streams.ErrDurability, ErrTooOld, ErrSettings,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func hasPrefix(err error, prefixes []string) bool {
	for _, prefix := range prefixes {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// AtStart is Explain for errors before the first event. If an operator has to act, the
// error is ErrSettings.
func AtStart(err error) error {
	if !errors.Is(err, ErrSettings) && Permanent(err) {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return Explain(err)
}

// Permanent reports whether only an operator can help. Waiting for Redis, the reaction to
// all other errors, would hide a mistake in the settings.
func Permanent(err error) bool {
	return errors.Is(err, streams.ErrMismatch) || errors.Is(err, streams.ErrDurability) || errors.Is(err, ErrTooOld) ||
		errors.Is(err, ErrSettings) || RejectedByTLS(err) ||
		redis.IsAuthError(err) || redis.IsPermissionError(err) ||
		redis.HasErrorPrefix(err, "The user executing the script") // lacks a permission, in the words of Redis 7.0
}

// Reading turns an explained error into one that a read may return.
func Reading(err error) error {
	if err == nil || errors.Is(err, streams.ErrUnavailable) || errors.Is(err, streams.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", streams.ErrUnavailable, err)
}

// Appending turns an explained error into one that a receipt may have.
func Appending(err error) error {
	for _, known := range []error{streams.ErrUnavailable, streams.ErrRefused, streams.ErrDurability, streams.ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", streams.ErrRefused, err)
}

// Redirected reports whether the node has the slot not, or not completely. The command
// did not run, and succeeds soon at another node.
func Redirected(err error) bool {
	return err != nil && hasPrefix(err, []string{"MOVED", "ASK", "TRYAGAIN"})
}

// Migrating reports whether the slot is being moved from this node to another one. It
// still belongs to this node.
func Migrating(err error) bool { return hasPrefix(err, []string{"ASK", "TRYAGAIN"}) }

// UnknownCommand reports whether the server does not know the command with that name, in
// lower case.
func UnknownCommand(err error, name string) bool {
	if err == nil {
		return false
	}
	text := strings.ToLower(err.Error())
	return strings.HasPrefix(text, "err unknown command") && strings.Contains(text, name)
}

// OneLine returns the text of err with joined errors on one line.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
