package legs

import (
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func tuple(local, remote string) Tuple {
	return Tuple{Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote)}
}

// TestOwn: which legs are known again, and as what.
func TestOwn(t *testing.T) {
	var s Set
	deliver, plain := tuple("10.0.0.1:20000", "10.0.0.2:80"), tuple("[fd00::1]:20000", "[fd00::2]:80")
	if !s.Add(deliver, engine.Deliver) || s.Add(deliver, engine.Plain) {
		t.Error("a leg is added once")
	}
	if got, err := s.AddAfter(plain.Remote, engine.Plain, func() (netip.AddrPort, error) { return plain.Local, nil }); err != nil || got != plain {
		t.Errorf("%v, %v", got, err)
	}
	for _, c := range []struct {
		t    Tuple
		kind engine.Kind
		want bool
	}{
		{deliver, engine.Inbound, true},
		{deliver, engine.Outbound, true},
		{plain, engine.Inbound, false},
		{plain, engine.Outbound, true},
		{tuple("10.0.0.1:20001", "10.0.0.2:80"), engine.Inbound, false},
		{tuple("10.0.0.1:20000", "10.0.0.2:81"), engine.Inbound, false},
		{tuple("10.0.0.3:20000", "10.0.0.2:80"), engine.Inbound, false},
	} {
		if got := s.Own(c.kind, c.t.Local, c.t.Remote); got != c.want {
			t.Errorf("%v as %v: %v", c.t, c.kind, got)
		}
	}
	s.Remove(deliver)
	if s.Own(engine.Inbound, deliver.Local, deliver.Remote) {
		t.Error("a leg is known after its end")
	}
}

// TestKey: a leg that was added is dropped by its key, and looking at a leg takes no memory.
func TestKey(t *testing.T) {
	var s Set
	leg := tuple("[fd00::1]:20000", "[fd00::2]:80")
	s.Add(leg, engine.Plain)
	if s.Drop(s.Key(tuple("[fd00::1]:20001", "[fd00::2]:80"))); !s.Own(engine.Outbound, leg.Local, leg.Remote) {
		t.Error("a leg is dropped by another's key")
	}
	if n := testing.AllocsPerRun(100, func() { s.Own(engine.Outbound, leg.Local, leg.Remote) }); n > 0 {
		t.Errorf("%v allocations for a look", n)
	}
	if s.Drop(s.Key(leg)); s.Own(engine.Outbound, leg.Local, leg.Remote) {
		t.Error("a leg is known after its end")
	}
}
