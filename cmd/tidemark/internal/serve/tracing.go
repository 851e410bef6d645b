package serve

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/internal/logfilter"
)

const (
	// flushLimit bounds how long the end of a node waits for the collector to accept the
	// last spans.
	flushLimit = 5 * time.Second

	// reportEvery is the minimum interval between log lines about lost spans. maxErrorText
	// bounds the error text in such a line, in characters.
	reportEvery  = time.Minute
	maxErrorText = 300
)

// tracingWanted reports whether OpenTelemetry's environment variables ask for traces, by
// naming the exporter or a collector. A value that Tidemark does not support is an error,
// because ignoring it would lose traces silently.
//
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
func tracingWanted(env func(string) string) (bool, error) {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := env("OTEL_TRACES_EXPORTER"); exporter {
	case "otlp":
	case "":
		if !collectorNamed(env) {
			return false, nil
		}
	case "none":
		return false, nil
	default:
		return false, cli.UsageError(fmt.Sprintf("OTEL_TRACES_EXPORTER is %q: want otlp or none", exporter))
	}
	protocol := cmp.Or(env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), env("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if protocol != "http/protobuf" && protocol != "http/json" {
		return false, cli.UsageError(fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL selects %q for traces: want http/protobuf or http/json, usually on port 4318", protocol))
	}
	return true, nil
}

func collectorNamed(env func(string) string) bool {
	return env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
}

// exporterOptions returns the options that the exporter does not read from the environment.
// Without a named collector the standard prescribes the local machine without TLS.
func exporterOptions(env func(string) string) []otlptracehttp.Option {
	if collectorNamed(env) {
		return nil
	}
	return []otlptracehttp.Option{otlptracehttp.WithInsecure()}
}

// checkTracing refuses environment variables for traces that Tidemark can't follow.
func checkTracing(node string) error {
	wanted, err := tracingWanted(os.Getenv)
	if err == nil && wanted {
		_, err = tracingResource(node, "")
	}
	return err
}

// tracingResource describes the node in its spans.
func tracingResource(node, version string) (*resource.Resource, error) {
	r, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "tidemark"),
		attribute.String("service.version", version),
		attribute.String("service.instance.id", node),
	), resource.WithFromEnv())
	if err != nil {
		return nil, cli.UsageError("OTEL_RESOURCE_ATTRIBUTES: want name=value,name=value: " + err.Error())
	}
	return r, nil
}

// openTracing returns the provider of tracers, or nil if traces are not wanted, and a
// function that sends the last spans and stops tracing.
func openTracing(ctx context.Context, node, version string, logger *slog.Logger) (trace.TracerProvider, func(), error) {
	wanted, err := tracingWanted(os.Getenv)
	if err != nil || !wanted {
		return nil, func() {}, err
	}
	// The exporter and its queue report errors only through these two globals.
	otel.SetErrorHandler(newExportErrors(logger))
	otel.SetLogger(logr.FromSlogHandler(messageOnly{logger.With("by", "OpenTelemetry").Handler()}))

	exporter, err := otlptracehttp.New(ctx, exporterOptions(os.Getenv)...) // does not connect yet
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	resource, err := tracingResource(node, version)
	if err != nil {
		return nil, nil, err
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(resource))
	logger.Info("requests are traced")
	return provider, func() { closeTracing(provider, logger) }, nil
}

// closeTracing sends the last spans within flushLimit.
func closeTracing(provider *sdk.TracerProvider, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		logger.Warn("some of the last spans were not sent: check the collector", "error", err)
	}
}

// exportErrors logs spans that could not be sent, at most once in reportEvery, so that an
// unavailable collector does not fill the log. It may be called concurrently.
type exportErrors struct {
	logger *slog.Logger
	filter logfilter.Filter
}

func newExportErrors(logger *slog.Logger) *exportErrors {
	return &exportErrors{logger: logger, filter: logfilter.Filter{Period: reportEvery}}
}

// Handle implements otel.ErrorHandler.
func (e *exportErrors) Handle(err error) {
	if suppressed, ok := e.filter.Pass(); ok {
		e.logger.Warn("spans are lost: check the collector", "error", fmt.Sprintf("%.*s", maxErrorText, err), "suppressed", suppressed)
	}
}

// messageOnly drops the attributes of log records. OpenTelemetry's attributes can quote
// environment variables that it failed to parse, such as headers with a collector's key.
type messageOnly struct{ slog.Handler }

// Handle implements slog.Handler.
func (m messageOnly) Handle(ctx context.Context, r slog.Record) error {
	return m.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, r.Message, r.PC))
}

// WithAttrs implements slog.Handler.
func (m messageOnly) WithAttrs([]slog.Attr) slog.Handler { return m }

// WithGroup implements slog.Handler.
func (m messageOnly) WithGroup(string) slog.Handler { return m }
