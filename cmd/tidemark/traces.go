package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// flushWait bounds how long the end of a node waits for a collector to take the
	// last spans.
	flushWait = 5 * time.Second

	// sayEvery is how often a collector that does not take spans is told of, and maxSaid
	// how many characters of what it says.
	sayEvery = time.Minute
	maxSaid  = 300
)

// tracesWanted reports whether OpenTelemetry's environment variables ask for traces: by
// naming the exporter, or a collector. A value that would quietly not do what it says is
// an error.
//
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
func tracesWanted(env func(string) string) (bool, error) {
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
		return false, usageError(fmt.Sprintf("OTEL_TRACES_EXPORTER is %q: there are otlp and none", exporter))
	}
	protocol := cmp.Or(env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), env("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if protocol != "http/protobuf" && protocol != "http/json" {
		return false, usageError(fmt.Sprintf("the protocol for traces is %q by OTEL_EXPORTER_OTLP_PROTOCOL: there are http/protobuf and http/json, usually on port 4318", protocol))
	}
	return true, nil
}

func collectorNamed(env func(string) string) bool {
	return env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
}

// exporterOptions are what the exporter does not take from the environment itself: that
// the collector which is not named is one of this machine without TLS, as the standard has it.
func exporterOptions(env func(string) string) []otlptracehttp.Option {
	if collectorNamed(env) {
		return nil
	}
	return []otlptracehttp.Option{otlptracehttp.WithInsecure()}
}

// checkTraces refuses what the environment asks for and is not there.
func (c *serveCmd) checkTraces() error {
	wanted, err := tracesWanted(os.Getenv)
	if err == nil && wanted {
		_, err = c.tracedAs()
	}
	return err
}

// tracedAs is what the node's spans say of the node.
func (c *serveCmd) tracedAs() (*resource.Resource, error) {
	node, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "tidemark"),
		attribute.String("service.version", version()),
		attribute.String("service.instance.id", c.name()),
	), resource.WithFromEnv())
	if err != nil {
		return nil, usageError("OTEL_RESOURCE_ATTRIBUTES: want name=value,name=value: " + err.Error())
	}
	return node, nil
}

// openTracing returns where spans go, nil if nobody has asked for traces, and what sends
// the last of them and ends it.
func (s *server) openTracing(ctx context.Context) (trace.TracerProvider, func(), error) {
	wanted, err := tracesWanted(os.Getenv)
	if err != nil || !wanted {
		return nil, func() {}, err
	}
	// The exporter, and what queues for it, have no other way to say what goes wrong
	// than these two, which are of the whole program.
	otel.SetErrorHandler(&collectorErrors{logger: s.logger})
	otel.SetLogger(logr.FromSlogHandler(wordsOnly{s.logger.With("by", "OpenTelemetry").Handler()}))

	exporter, err := otlptracehttp.New(ctx, exporterOptions(os.Getenv)...) // which does not connect
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	node, err := s.tracedAs()
	if err != nil {
		return nil, nil, err
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(node))
	s.logger.Info("requests are traced")
	return provider, func() { s.closeTracing(provider) }, nil
}

// closeTracing sends the last spans, if the collector takes them in time.
func (s *server) closeTracing(provider *sdk.TracerProvider) {
	ctx, cancel := context.WithTimeout(context.Background(), flushWait)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		s.logger.Warn("the last spans were not all sent", "error", err)
	}
}

// collectorErrors tells of spans that could not be sent, and not more often than every
// sayEvery: a collector that is away must not fill the log.
type collectorErrors struct {
	logger *slog.Logger

	mu   sync.Mutex // guards the fields below
	last time.Time  // when it was told of
	more int        // errors since
}

// Handle implements otel.ErrorHandler.
func (c *collectorErrors) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.last) < sayEvery {
		c.more++
		return
	}
	c.logger.Warn("spans are lost", "error", fmt.Sprintf("%.*s", maxSaid, err), "untold", c.more)
	c.last, c.more = time.Now(), 0
}

// wordsOnly writes messages without their values: OpenTelemetry's are pieces of its
// environment that it can't read, such as headers with a collector's key.
type wordsOnly struct{ slog.Handler }

func (w wordsOnly) Handle(ctx context.Context, r slog.Record) error {
	return w.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, r.Message, r.PC))
}

func (w wordsOnly) WithAttrs([]slog.Attr) slog.Handler { return w }

func (w wordsOnly) WithGroup(string) slog.Handler { return w }
