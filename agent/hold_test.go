package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
)

// TestHeldPodsSpeakOnlyThroughAProxy: what is found labelled is captured before there is a proxy.
func TestHeldPodsSpeakOnlyThroughAProxy(t *testing.T) {
	h := newTheater(t)
	h.setup.HoldNew = true
	h.setup.ProxyAbsentAfter = time.Minute
	c, s, x := h.Pod("c"), h.Pod("s"), h.Pod("x")
	x.Labels = "istio.io/dataplane-mode: none"
	x.Write()
	h.Namespace(ambient, "")
	h.start()
	h.says("c", agent.ActualEnrolling, "no node proxy")
	h.says("s", agent.ActualEnrolling, "no node proxy")
	for _, from := range []*stage.Process{c.Process, x.Process} { // out of a held pod, and into one
		conn := from.Dial(t, stage.Dial{To: stage.At(s.V4, 8080), Silent: true})
		if conn.Err != "" {
			t.Fatalf("dial: %s", conn.Err)
		}
	}
	out := x.Process.Dial(t, stage.Dial{To: stage.At(c.V4, 8080), Timeout: time.Second})
	if out.Err == "" {
		t.Errorf("the application answered: %+v", out)
	}
	proxy := h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "c", "s")
	var log []string // "kind pod source" of each connection
	h.eventually("what waited is served by the proxy", func() error {
		for _, e := range proxy.Log(t) {
			log = append(log, e.Kind+" "+strings.TrimPrefix(e.Pod, "uid-")+" "+stage.IP(e.Src))
		}
		for _, kind := range []string{"out c " + c.V4.String(), "in s " + x.V4.String()} {
			if !slices.Contains(log, kind) {
				return fmt.Errorf("no %q in %v", kind, log)
			}
		}
		return nil
	})
}

// TestOpenPodsGoOnUntilThereIsAProxy: what --startup=open does with pods that are found labelled.
func TestOpenPodsGoOnUntilThereIsAProxy(t *testing.T) {
	h := newTheater(t)
	h.setup.HoldNew = false
	c, s, x := h.Pod("c"), h.Pod("s"), h.Pod("x")
	x.Labels = "istio.io/dataplane-mode: none"
	x.Write()
	h.Namespace(ambient, "")
	h.start()
	h.says("c", agent.ActualWaiting, "no node proxy")
	h.says("s", agent.ActualWaiting, "no node proxy")
	for who, from := range map[string]*stage.Process{"out of an open pod": c.Process, "into one": x.Process} {
		alive(t, from, who, hold(t, from, s)...)
	}
	h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "c", "s")
}

// TestRelabelledPodIsNotHeld: a running pod goes on as before until the proxy can carry its connections.
func TestRelabelledPodIsNotHeld(t *testing.T) {
	h := newTheater(t)
	h.setup.HoldNew = true
	c, s := h.Pod("c"), h.Pod("s")
	h.Namespace("", "")
	h.start()
	h.says("c", agent.ActualPlain, "no label")
	h.Namespace(ambient, "")
	h.says("c", agent.ActualWaiting, "no node proxy")
	alive(t, c.Process, "while it waits", hold(t, c.Process, s)...)
	h.Proxy("proxy")
	h.become(agent.ActualEnrolled, "c", "s")
}
