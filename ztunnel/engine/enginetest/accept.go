package enginetest

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// log collects what is logged.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

// noDescriptors: a connection that cannot be accepted waits until it can.
func (by engines) noDescriptors(t *testing.T) {
	var out log
	s := newSide(t, by.client, nil, "a")
	s.o.Log = slog.New(slog.NewTextHandler(&out, nil))
	s.d.Accept = func(*engine.Record) engine.Plan { return engine.Plan{} }
	to := s.listen(t, engine.Outbound)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	restore := limitFDs(t)
	defer restore()
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "accept failed", func() bool { return out.has("too many open files") })
	restore()
	s.d.ended(engine.Outbound, 1)
}

// limitFDs lets the process open no descriptor more, until restore.
func limitFDs(t *testing.T) (restore func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	now := was
	now.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }
}

// flood: a pod that is refused, again and again, leaves the others alone and leaves nothing behind.
func (by engines) flood(t *testing.T) {
	s := newSide(t, by.client, nil, "a")
	app := ServeTCP(t, Echo)
	s.d.Accept = func(r *engine.Record) engine.Plan {
		if r.Kind == engine.Inbound {
			return engine.Plan{Action: engine.Refuse, Reason: "policy_deny"}
		}
		return engine.Plan{Action: engine.Plain, Dial: engine.Dial{To: app}}
	}
	bad, good := s.listen(t, engine.Inbound), s.listen(t, engine.Outbound)
	c := Connect(t, good)
	for range 500 {
		wantRefused(t, bad)
	}
	RoundTrip(t, c)
	for _, r := range s.d.ended(engine.Inbound, 500) {
		if r.Reason != "policy_deny" {
			t.Errorf("%q", r.Reason)
		}
	}
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}
