// Package grpclogs lets gRPC speak through a program's own log instead of standard error.
package grpclogs

import (
	"context"
	"fmt"
	"log/slog"

	"google.golang.org/grpc/grpclog"
)

// Use makes log that of gRPC, in the whole process. For main, before gRPC is used. What is no error stands
// there at debug level: whoever calls gRPC tells of it in words of its own.
func Use(log *slog.Logger) { grpclog.SetLoggerV2(logger{log.With("component", "grpc")}) }

// logger implements grpclog.LoggerV2.
type logger struct{ log *slog.Logger }

func (l logger) say(level slog.Level, text func(...any) string, args []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, text(args...))
	}
}

func (l logger) sayf(level slog.Level, format string, args []any) {
	l.say(level, func(a ...any) string { return fmt.Sprintf(format, a...) }, args)
}

func line(args ...any) string {
	s := fmt.Sprintln(args...)
	return s[:len(s)-1]
}

func (l logger) Info(args ...any)                    { l.say(slog.LevelDebug, fmt.Sprint, args) }
func (l logger) Infoln(args ...any)                  { l.say(slog.LevelDebug, line, args) }
func (l logger) Infof(format string, args ...any)    { l.sayf(slog.LevelDebug, format, args) }
func (l logger) Warning(args ...any)                 { l.say(slog.LevelDebug, fmt.Sprint, args) }
func (l logger) Warningln(args ...any)               { l.say(slog.LevelDebug, line, args) }
func (l logger) Warningf(format string, args ...any) { l.sayf(slog.LevelDebug, format, args) }
func (l logger) Error(args ...any)                   { l.say(slog.LevelError, fmt.Sprint, args) }
func (l logger) Errorln(args ...any)                 { l.say(slog.LevelError, line, args) }
func (l logger) Errorf(format string, args ...any)   { l.sayf(slog.LevelError, format, args) }

// gRPC ends the process after Fatal.

func (l logger) Fatal(args ...any)                 { l.say(slog.LevelError, fmt.Sprint, args) }
func (l logger) Fatalln(args ...any)               { l.say(slog.LevelError, line, args) }
func (l logger) Fatalf(format string, args ...any) { l.sayf(slog.LevelError, format, args) }

// V reports whether verbose messages are wanted at all.
func (l logger) V(int) bool { return l.log.Enabled(context.Background(), slog.LevelDebug) }
