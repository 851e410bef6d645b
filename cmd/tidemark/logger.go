package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/lmittmann/tint"
)

// logFormat is how logs are written: for people, or for programs.
type logFormat string

const (
	formatAuto logFormat = "auto"
	formatText logFormat = "text"
	formatJSON logFormat = "json"
)

// resolve says what auto means for logs that go to w.
func (f logFormat) resolve(w io.Writer) logFormat {
	switch {
	case f != formatAuto:
		return f
	case isTerminal(w):
		return formatText
	}
	return formatJSON
}

// newLogger returns a logger to w; f is text or json.
func newLogger(w io.Writer, f logFormat, level slog.Level) *slog.Logger {
	if f == formatJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level:      level,
		TimeFormat: "15:04:05.000",
		NoColor:    !colourful(w),
	}))
}

// redisLogger takes what go-redis would print to standard error as it is. It is
// detail: what comes of it is in the errors that the log reports.
type redisLogger struct{ *slog.Logger }

func (l redisLogger) Printf(ctx context.Context, format string, v ...any) {
	l.DebugContext(ctx, fmt.Sprintf(format, v...))
}
