package agent_test

import (
	"strings"
	"testing"

	"github.com/ambitmesh/ambit/agent/internal/stage"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// A proxy that asks an agent at once after its start has the connections ended that run since before.
func TestDirectEndedByTheNextAgent(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V4, 8080)
	call := callFrom(p.c, to, place(p.s, to))
	p.allow(t, call)
	held := p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
	p.agent.Kill()
	p.start()
	p.answering(t)
	if all := p.read(t, true); len(all) != 1 || all[0].GetOpened() != 1 || all[0].GetGone() {
		t.Errorf("accounts %v", all)
	}
	p.end(t, call)
	if how := p.c.End(t, held); !strings.Contains(how, "reset") {
		t.Errorf("the connection ended with %q, want a reset", how)
	}
}

// What the agent does not know it does not claim to have ended.
func TestDirectEndOfWhomNobodyKnows(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V4, 8080)
	call := callFrom(p.c, to, place(p.s, to))
	call.Source = "uid-nobody"
	out := &pb.DirectResponse{}
	req := &pb.DirectRequest{Payload: &pb.DirectRequest_End{End: &pb.EndDirect{Calls: []*pb.DirectCall{call}}}}
	if err := p.proxy.TryOrder(stage.Order{}, req, out); err != nil || !strings.Contains(out.GetError(), "uid-nobody") {
		t.Errorf("the agent answers %q, %v", out.GetError(), err)
	}
}
