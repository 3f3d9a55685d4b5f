package cni

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// agentAt is an installer whose clock stands; it looks only when it is told to.
func (h *host) agentAt(now *time.Time) *Installer {
	h.Helper()
	i, err := NewInstaller(h.Paths, slog.New(slog.DiscardHandler), func() time.Time { return *now }, prometheus.NewRegistry())
	if err != nil {
		h.Fatal(err)
	}
	return i
}

// TestChainRewrittenWithoutAnAgent: nobody saw it, and the time counts all the same.
func TestChainRewrittenWithoutAnAgent(t *testing.T) {
	h := newHost(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h.write(h.conf("10-lab.conflist"), lab, 0o644)
	first := h.agentAt(&now)
	first.look()
	now = now.Add(time.Hour)
	first.look()
	if lost := testutil.ToFloat64(first.missing); lost != 0 {
		t.Fatalf("%v s lost of a chain that was whole", lost)
	}

	whole := h.text(h.conf("10-lab.conflist"))
	now = now.Add(10 * time.Minute)
	second := h.agentAt(&now) // the node was away; nobody touched the file
	second.look()
	if lost, restores := testutil.ToFloat64(second.missing), testutil.ToFloat64(second.restores); lost != 0 || restores != 0 {
		t.Errorf("whole when the agent came back: %v s, %v restores", lost, restores)
	}

	h.write(h.conf("10-lab.conflist"), lab, 0o644)
	now = now.Add(5 * time.Minute)
	third := h.agentAt(&now)
	third.look()
	if lost, restores := testutil.ToFloat64(third.missing), testutil.ToFloat64(third.restores); lost != 300 || restores != 1 {
		t.Errorf("rewritten while no agent ran: %v s, %v restores, want 300 and 1", lost, restores)
	}
	if h.text(h.conf("10-lab.conflist")) != whole {
		t.Error("the chain is not whole again")
	}
}

// TestSeenByNobody: a first agent, and one whose clock went back, count nothing.
func TestSeenByNobody(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, seen := range map[string]time.Time{"never": {}, "later": now.Add(time.Hour)} {
		h := newHost(t)
		h.write(h.conf("10-lab.conflist"), lab, 0o644)
		if !seen.IsZero() {
			if err := writeSeen(h.ConfDir, seen); err != nil {
				t.Fatal(err)
			}
		}
		i := h.agentAt(&now)
		i.look()
		if lost := testutil.ToFloat64(i.missing); lost != 0 {
			t.Errorf("%s: %v s lost", name, lost)
		}
		if at := readSeen(h.ConfDir); !at.Equal(now) {
			t.Errorf("%s: noted %v, want %v", name, at, now)
		}
		if err := Uninstall(h.Paths); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(h.conf(seenFile)); !os.IsNotExist(err) {
			t.Errorf("%s: it is left after uninstalling: %v", name, err)
		}
	}
}
