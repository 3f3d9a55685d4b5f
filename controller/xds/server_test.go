package xds

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

func these(r ...Resource) []Resource { return r }

func TestPoliciesComeFirstAndGoLast(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(Versions{"Pod": 1}, these(address(t, "c//Pod/a/b", "1")), these(policy(t, "a/p", "1")), nil, nil)
	p := w.open("n1")
	p.both("", nil, nil)
	pol := p.want(AuthorizationType, []string{"a/p"}, nil)
	addr := p.want(AddressType, []string{"c//Pod/a/b"}, nil)
	p.ack(pol)
	p.ack(addr)

	w.apply(Versions{"Pod": 2}, these(address(t, "c//Pod/a/b", "2")), these(policy(t, "a/q", "1")), nil, []string{"a/p"})
	pol = p.want(AuthorizationType, []string{"a/q"}, nil) // not yet the removal: workloads name a/p
	addr = p.want(AddressType, []string{"c//Pod/a/b"}, nil)
	p.ack(pol)
	p.quiet(100 * time.Millisecond)
	p.ack(addr)
	p.want(AuthorizationType, nil, []string{"a/p"})
}

func TestOneResponseIsUnderWayAndChangesAreSentTogether(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(nil, nil, nil, nil, nil)
	p := w.open("n1")
	p.both("", nil, nil)
	p.ack(p.want(AuthorizationType, nil, nil))
	first := p.want(AddressType, nil, nil)
	for _, marker := range []string{"1", "2", "3"} {
		w.apply(nil, these(address(t, "c//Pod/a/b", marker), address(t, "c//Pod/a/"+marker, "1")), nil, nil, nil)
	}
	w.apply(nil, nil, nil, []string{"c//Pod/a/2"}, nil)
	p.quiet(50 * time.Millisecond)
	p.ack(first)
	r := p.want(AddressType, []string{"c//Pod/a/b", "c//Pod/a/1", "c//Pod/a/3"}, []string{"c//Pod/a/2"})
	p.ack(r)
	p.quiet(50 * time.Millisecond)
}

func TestUnchangedContentIsNotSent(t *testing.T) {
	w := newWorld(t, nil)
	a, b := address(t, "c//Pod/a/a", "1"), address(t, "c//Pod/a/b", "1")
	w.apply(nil, these(a, b), these(policy(t, "a/p", "1")), nil, nil)
	p := w.open("n1")
	p.both("", map[string]string{a.Name: a.Version, b.Name: "older", "c//Pod/a/gone": "x", "ns/gone.svc": "y"},
		map[string]string{"a/p": ""}) // a policy that was refused is asked for again
	p.ack(p.want(AuthorizationType, []string{"a/p"}, nil))
	p.ack(p.want(AddressType, []string{b.Name}, []string{"c//Pod/a/gone", "ns/gone.svc"}))
	w.apply(nil, these(a, b), nil, nil, nil)
	p.quiet(50 * time.Millisecond)
}

func TestRemovedPolicyOfAReconnectGoesAfterWorkloads(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(nil, these(address(t, "c//Pod/a/a", "2")), nil, nil, nil)
	p := w.open("n1")
	p.both("", map[string]string{"c//Pod/a/a": "1"}, map[string]string{"a/p": "1"})
	p.ack(p.want(AuthorizationType, nil, nil))
	addr := p.want(AddressType, []string{"c//Pod/a/a"}, nil)
	p.quiet(50 * time.Millisecond)
	p.ack(addr)
	p.want(AuthorizationType, nil, []string{"a/p"})
}

func TestRemovalThatWaitsIsNotSynced(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(nil, these(address(t, "c//Pod/a/b", "1")), these(policy(t, "a/p", "1")), nil, nil)
	p := w.open("n1")
	p.both("", nil, nil)
	p.ack(p.want(AuthorizationType, []string{"a/p"}, nil))
	p.ack(p.want(AddressType, []string{"c//Pod/a/b"}, nil))
	w.apply(nil, these(address(t, "c//Pod/a/b", "2")), nil, nil, []string{"a/p"})
	addr := p.want(AddressType, []string{"c//Pod/a/b"}, nil) // the removal waits for its answer
	if w.server.Status()[0].Types[AuthorizationType].Synced {
		t.Error("a removal is not sent, and the status says that all is")
	}
	p.ack(addr)
	p.ack(p.want(AuthorizationType, nil, []string{"a/p"}))
	eventually(t, "status says that the removal was sent and acknowledged", func() bool { return w.server.Status()[0].Types[AuthorizationType].Synced })
}

func TestRefusalsAreKeptAndNotRepeated(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(nil, nil, these(policy(t, "a/p", "1"), policy(t, "a/q", "1")), nil, nil)
	p := w.open("n1")
	p.both("", nil, nil)
	r := p.want(AuthorizationType, []string{"a/p", "a/q"}, nil)
	p.want(AddressType, nil, nil)
	refuse := func(nonce string) {
		p.send(&discovery.DeltaDiscoveryRequest{TypeUrl: AuthorizationType, ResponseNonce: nonce,
			ErrorDetail: &discovery.Status{Code: 3, Message: `policy a/q: cannot be read`}})
	}
	refuse("stale") // says nothing
	refuse(r.GetNonce())
	eventually(t, "the refusal in status", func() bool { return len(w.server.Status()[0].Refusals) == 1 })
	got := w.server.Status()[0].Refusals[0]
	if got.Resource != "a/q" || got.Type != AuthorizationType || !strings.Contains(got.Detail, "cannot be read") {
		t.Errorf("kept %+v", got)
	}
	p.quiet(50 * time.Millisecond)
	w.apply(nil, nil, these(policy(t, "a/q", "2")), nil, nil)
	p.ack(p.want(AuthorizationType, []string{"a/q"}, nil))
	eventually(t, "the refusal to be over", func() bool { return len(w.server.Status()[0].Refusals) == 0 })
}

func TestStaleNonceAcknowledgesNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(nil, these(address(t, "c//Pod/a/b", "1")), nil, nil, nil)
	p := w.open("n1")
	p.both("", nil, nil)
	p.want(AuthorizationType, nil, nil)
	r := p.want(AddressType, []string{"c//Pod/a/b"}, nil)
	w.apply(nil, these(address(t, "c//Pod/a/b", "2")), nil, nil, nil)
	p.send(&discovery.DeltaDiscoveryRequest{TypeUrl: AddressType, ResponseNonce: "999"})
	p.quiet(100 * time.Millisecond)
	p.ack(r)
	p.want(AddressType, []string{"c//Pod/a/b"}, nil)
}

func TestControllerThatIsBehindWaitsThenKeeps(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *CaptureOptions) { c.StaleWait = 300 * time.Millisecond })
	w.apply(Versions{"Pod": 5, "Node": 9}, these(address(t, "c//Pod/a/b", "old")), nil, nil, nil)
	p := w.open("n1")
	p.both("Node=3,Pod=7", map[string]string{"c//Pod/a/b": "new", "c//Pod/a/newer": "new"}, nil)
	p.quiet(100 * time.Millisecond)
	w.clock.run()
	r := p.want(AddressType, nil, nil) // keep what you have; nothing for policies, of which it has none
	p.ack(r)
	eventually(t, "held in status", func() bool { return w.server.Status()[0].Types[AddressType].Held })
	p.quiet(100 * time.Millisecond)
	w.apply(Versions{"Pod": 7, "Node": 9}, these(address(t, "c//Pod/a/b", "newest"), address(t, "c//Pod/a/newer", "1")), nil, nil, nil)
	p.want(AuthorizationType, nil, nil)
	r = p.want(AddressType, []string{"c//Pod/a/b", "c//Pod/a/newer"}, nil)
	if r.GetSystemVersionInfo() != "Node=9,Pod=7" {
		t.Errorf("system version %q", r.GetSystemVersionInfo())
	}
}

func TestNothingIsAnsweredBeforeTheFirstRead(t *testing.T) {
	w := newWorld(t, nil)
	p := w.open("n1")
	p.both("", map[string]string{"c//Pod/a/b": "1"}, nil)
	p.quiet(100 * time.Millisecond)
	w.apply(nil, nil, nil, nil, nil)
	p.want(AuthorizationType, nil, nil)
	p.want(AddressType, nil, []string{"c//Pod/a/b"})
}

func TestNamesOneByOne(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(nil, these(address(t, "c//Pod/a/a", "1"), address(t, "c//Pod/a/b", "1")), nil, nil, nil)
	p := w.open("n1")
	p.send(&discovery.DeltaDiscoveryRequest{TypeUrl: AuthorizationType})
	p.ack(p.want(AuthorizationType, nil, nil))
	p.send(&discovery.DeltaDiscoveryRequest{TypeUrl: AddressType, ResourceNamesSubscribe: []string{"c//Pod/a/a", "c//Pod/a/none"}})
	p.ack(p.want(AddressType, []string{"c//Pod/a/a"}, []string{"c//Pod/a/none"}))
	w.apply(nil, these(address(t, "c//Pod/a/b", "2")), nil, nil, nil)
	p.quiet(50 * time.Millisecond)
	p.send(&discovery.DeltaDiscoveryRequest{TypeUrl: AddressType, ResourceNamesSubscribe: []string{"c//Pod/a/b"}, ResourceNamesUnsubscribe: []string{"c//Pod/a/a"}})
	p.ack(p.want(AddressType, []string{"c//Pod/a/b"}, nil))
	w.apply(nil, these(address(t, "c//Pod/a/a", "2"), address(t, "c//Pod/a/none", "1")), nil, nil, nil)
	p.ack(p.want(AddressType, []string{"c//Pod/a/none"}, nil))
}

func TestProxyThatDoesNotAcknowledgePoliciesGetsWorkloadsLater(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *CaptureOptions) { c.PolicyWait = 200 * time.Millisecond })
	w.apply(nil, nil, nil, nil, nil)
	p := w.open("n1")
	p.both("", nil, nil)
	p.want(AuthorizationType, nil, nil) // and never acknowledges
	p.ack(p.want(AddressType, nil, nil))
	w.clock.run()
	w.apply(nil, these(address(t, "c//Pod/a/a", "1")), these(policy(t, "a/p", "1")), nil, nil)
	p.want(AddressType, []string{"c//Pod/a/a"}, nil)
}

func TestBadRequestsEndTheStream(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(nil, nil, nil, nil, nil)
	p := w.open("n1")
	p.send(&discovery.DeltaDiscoveryRequest{TypeUrl: AddressType, ResourceNamesSubscribe: []string{strings.Repeat("x", maxName+1)}})
	if err := <-p.end; status.Code(err) != codes.InvalidArgument {
		t.Errorf("ended by %v", err)
	}
}

func TestStreamsAreForNodes(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *CaptureOptions) {
		c.Identify = func(context.Context) (Caller, error) { return Caller{}, errors.New("secret detail") }
	})
	p := w.open("n1")
	if err := <-p.end; status.Code(err) != codes.Unauthenticated || strings.Contains(err.Error(), "secret") {
		t.Errorf("ended by %v", err)
	}
}

func TestStreamEndsWithItsCertificate(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *CaptureOptions) {
		c.Identify = func(context.Context) (Caller, error) {
			return Caller{Node: "n", Until: time.Now().Add(100 * time.Millisecond)}, nil
		}
	})
	p := w.open("n1")
	if err := <-p.end; status.Code(err) != codes.Unauthenticated {
		t.Errorf("ended by %v", err)
	}
}

func TestLargeChangesAreSplit(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *CaptureOptions) { c.MaxMessage = 3000 })
	w.apply(nil, nil, nil, nil, nil)
	p := w.open("n1")
	p.both("", nil, nil)
	p.ack(p.want(AuthorizationType, nil, nil))
	p.ack(p.want(AddressType, nil, nil))
	var all []Resource
	for n := range strings.SplitSeq("abcdefghij", "") {
		all = append(all, address(t, "c//Pod/a/"+n, strings.Repeat(n, 800)))
	}
	w.apply(nil, all, nil, nil, nil)
	got := 0
	for got < len(all) {
		r := p.next()
		if len(r.GetResources()) > 3 {
			t.Fatalf("%d resources in one message", len(r.GetResources()))
		}
		got += len(r.GetResources())
		p.ack(r)
	}
	p.quiet(50 * time.Millisecond)
}

func TestRemovalsAreForgottenOnceAllWereTold(t *testing.T) {
	w := newWorld(t, nil)
	w.apply(nil, these(address(t, "c//Pod/a/a", "1")), nil, nil, nil)
	p := w.open("n1")
	p.both("", nil, nil)
	p.ack(p.want(AuthorizationType, nil, nil))
	r := p.want(AddressType, []string{"c//Pod/a/a"}, nil)
	w.apply(nil, nil, nil, []string{"c//Pod/a/a"}, nil)
	w.apply(nil, these(address(t, "c//Pod/a/b", "1")), nil, nil, nil)
	if n := gone(w.cache); n != 1 {
		t.Fatalf("%d removals are held for a stream that was not told, want 1", n)
	}
	p.ack(r)
	p.ack(p.want(AddressType, []string{"c//Pod/a/b"}, []string{"c//Pod/a/a"}))
	w.apply(nil, these(address(t, "c//Pod/a/b", "2")), nil, nil, nil)
	if n := gone(w.cache); n != 0 {
		t.Errorf("%d removals are held for nobody", n)
	}
}

func gone(c *Cache) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table(AddressType).gone.Len()
}
