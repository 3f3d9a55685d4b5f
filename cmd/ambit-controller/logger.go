package main

import (
	"fmt"
	"log/slog"
	"os"

	"k8s.io/klog/v2" //nolint:depguard // only to redirect what client-go logs

	"github.com/ambitmesh/ambit/internal/grpclogs"
)

func logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}

// adopt lets the libraries that have a log of their own, for the whole process, write to ours: Go's HTTP
// servers by package log, client-go and gRPC.
func adopt(log *slog.Logger) {
	slog.SetDefault(log)
	slog.SetLogLoggerLevel(slog.LevelWarn)
	klog.SetSlogLogger(log)
	grpclogs.Use(log)
}
