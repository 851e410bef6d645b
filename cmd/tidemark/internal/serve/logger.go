package serve

import (
	"io"
	"log/slog"

	"github.com/lmittmann/tint"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// loggerFlags set what the node logs, and how.
type loggerFlags struct {
	LogFormat logFormat  `default:"auto" enum:"auto,text,json" placeholder:"FORMAT" group:"logs" help:"Format of the log on standard error: text, json, or auto, which is text on a terminal and json elsewhere (default ${default})."`
	LogLevel  slog.Level `default:"info" placeholder:"LEVEL" group:"logs" help:"Lowest level to log: debug, info, warn or error (default ${default})."`
	AccessLog bool       `group:"logs" help:"Log each request when it is answered, and each stream and WebSocket when it ends: client, route, duration and result. Query strings and headers are left out."`
}

// accessLogger returns the logger of requests, or nil if requests are not logged.
func (f *loggerFlags) accessLogger(logger *slog.Logger) *slog.Logger {
	if !f.AccessLog {
		return nil
	}
	return logger
}

// logFormat is text for people, JSON for programs, or a choice between the two by the output.
type logFormat string

const (
	formatAuto logFormat = "auto"
	formatText logFormat = "text"
	formatJSON logFormat = "json"
)

// resolve replaces auto by the format for logs that go to w.
func (f logFormat) resolve(w io.Writer) logFormat {
	switch {
	case f != formatAuto:
		return f
	case cli.IsTerminal(w):
		return formatText
	}
	return formatJSON
}

// newLogger returns a logger to w. f is text or json.
func newLogger(w io.Writer, f logFormat, level slog.Level) *slog.Logger {
	if f == formatJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level:      level,
		TimeFormat: "15:04:05.000",
		NoColor:    !cli.UsesColor(w),
	}))
}
