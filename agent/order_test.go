package agent_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent"
)

// TestOlderProxyCallsLast: agent and proxy are replaced together, and the proxy before is the slower one
// to call the new agent. It must not push the new one out, which would never be ready again.
func TestOlderProxyCallsLast(t *testing.T) {
	p := newPlay(t)
	p.agent.Kill()
	if err := unix.Kill(p.proxy.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awake := func() {
		if err := unix.Kill(p.proxy.PID, unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Error(err)
		}
	}
	t.Cleanup(awake)
	second := p.Proxy("proxy2")
	p.start()
	p.become(agent.ActualEnrolled, "c", "s")
	awake()
	p.eventually("the older one drains", func() error {
		if !p.proxy.Drained(t) {
			return fmt.Errorf("not asked")
		}
		return nil
	})
	if second.Drained(t) {
		t.Error("the newer one was told to drain")
	}
	s, err := p.status()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range s.Proxies {
		if x.Active != (x.PID == second.PID) {
			t.Errorf("proxy %+v; the newer one is %d", x, second.PID)
		}
	}
}
