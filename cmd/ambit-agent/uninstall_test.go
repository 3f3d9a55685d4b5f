package main

import (
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/internal/objects/fakeapi"
)

const daemonSets = "/apis/apps/v1/daemonsets"

func TestOnlyAnUninstalledAgentCleansItsNode(t *testing.T) {
	const set = "metadata: {namespace: ambit-system, name: ambit-agent"
	for _, tt := range []struct {
		name string
		set  string
		fail int
		want bool
	}{
		{name: "there", set: set + "}"},
		{name: "going", set: set + `, deletionTimestamp: "2026-01-01T00:00:00Z"}`, want: true},
		{name: "gone", want: true},
		{name: "its right to ask is gone too", set: set + "}", fail: http.StatusForbidden, want: true},
		{name: "the API server is away", set: set + "}", fail: http.StatusInternalServerError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := fakeapi.New(t, daemonSets)
			if tt.set != "" {
				api.Put(daemonSets, tt.set)
			}
			if tt.fail != 0 {
				api.Fail(func(*http.Request) int { return tt.fail })
			}
			k := &kube{o: options{daemonSet: "ambit-system/ambit-agent"}, rc: api.Config(), cfg: agent.Config{Log: slog.New(slog.DiscardHandler)}}
			if got := k.isUninstalled(t.Context()); got != tt.want {
				t.Errorf("got %v; asked %v", got, api.Calls())
			}
		})
	}
	k := &kube{cfg: agent.Config{Log: slog.New(slog.DiscardHandler)}}
	t.Setenv("POD_NAMESPACE", "")
	if k.isUninstalled(t.Context()) {
		t.Error("without a DaemonSet to ask for")
	}
}

func TestProxiesAreAwaited(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "ztunnel"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "ztunnel", "ztunnel.sock"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { awaitProxies(t.Context(), dir); close(done) }()
	select {
	case <-done:
		t.Error("a proxy that lives was not awaited")
	case <-time.After(50 * time.Millisecond):
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
}
