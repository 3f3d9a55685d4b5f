package grpclogs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/grpclog"
)

// TestLevels: errors are errors, all else is for who debugs, and every form gives one line.
func TestLevels(t *testing.T) {
	t.Cleanup(func() { Use(slog.New(slog.DiscardHandler)) })
	for _, c := range []struct {
		level slog.Level
		want  []string
	}{
		{slog.LevelInfo, []string{"level=ERROR msg=\"[test] a 1\"", "level=ERROR msg=\"b 2\"", "level=ERROR msg=\"c 3\""}},
		{slog.LevelDebug, []string{"level=DEBUG msg=\"d 4\"", "level=DEBUG msg=\"e 5\"", "level=ERROR msg=\"[test] a 1\"", "level=ERROR msg=\"b 2\"", "level=ERROR msg=\"c 3\""}},
	} {
		var out bytes.Buffer
		drop := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		Use(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: c.level, ReplaceAttr: drop})))
		grpclog.Infof("d %d", 4)
		grpclog.Warningln("e", 5)
		grpclog.Component("test").Error("a 1")
		grpclog.Errorln("b", 2)
		grpclog.Errorf("c %d", 3)
		want := strings.Join(c.want, " component=grpc\n") + " component=grpc\n"
		if out.String() != want {
			t.Errorf("level %s:\n%swant\n%s", c.level, out.String(), want)
		}
		if got := grpclog.V(2); got != (c.level == slog.LevelDebug) {
			t.Errorf("level %s: verbose %v", c.level, got)
		}
	}
}
