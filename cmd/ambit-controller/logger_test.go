package main

import (
	"bytes"
	"errors"
	"log" //nolint:depguard // to see that it is redirected
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2" //nolint:depguard // to see that it is redirected
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
	klog.ErrorS(errors.New("away"), "of klog", "host", "api")
	klog.Warningf("of %s", "client-go")
	klog.V(4).Info("only for who debugs client-go")
	grpclog.Error("of grpc")
	for _, want := range []string{
		"level=WARN msg=\"of package log\"",
		"level=ERROR msg=\"of klog\" err=away host=api",
		"level=INFO msg=\"of client-go\"",
		"level=ERROR msg=\"of grpc\" component=grpc",
	} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("no line says %s:\n%s", want, got.String())
		}
	}
	if n := strings.Count(got.String(), "\n"); n != 4 {
		t.Errorf("%d lines:\n%s", n, got.String())
	}
}
