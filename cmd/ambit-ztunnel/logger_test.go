package main

import (
	"bytes"
	"log" //nolint:depguard // to see that it is redirected
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/grpclog"
)

// TestOthersWriteToOurLog: what libraries print is lines of ours, and nothing is left for standard error.
func TestOthersWriteToOurLog(t *testing.T) {
	before, flags, out := slog.Default(), log.Flags(), log.Writer()
	t.Cleanup(func() {
		adopt(slog.New(slog.DiscardHandler))
		slog.SetDefault(before)
		log.SetOutput(out)
		log.SetFlags(flags)
	})
	var got bytes.Buffer
	adopt(slog.New(slog.NewTextHandler(&got, nil)))
	log.Print("of package log")
	grpclog.Error("of grpc")
	for _, want := range []string{
		"level=WARN msg=\"of package log\"",
		"level=ERROR msg=\"of grpc\" component=grpc",
	} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("no line says %s:\n%s", want, got.String())
		}
	}
	if n := strings.Count(got.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, got.String())
	}
}
