package agent_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/agent/internal/stage"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

func TestDirectSyncookiesAndPortsUsedAgain(t *testing.T) {
	p := newDirectPlay(t)
	for _, ns := range []*stage.Process{p.c.Process, p.s.Process} {
		ns.Sysctl(t, "ipv4/tcp_syncookies", "2")
	}
	for _, v6 := range []bool{false, true} {
		to, from := stage.At(p.s.V4, 8080), stage.At(p.c.V4, 40001)
		if v6 {
			to, from = stage.At(p.s.V6, 8080), stage.At(p.c.V6, 40001)
		}
		call := callFrom(p.c, to, place(p.s, to))
		for range 3 { // the same four numbers again and again, and between by the other way
			p.allow(t, call)
			c := p.check(t, p.c.Process, stage.Dial{To: to, From: from}, p.directly(v6))
			p.end(t, call)
			p.c.Process.Close(t, c)
		}
		p.check(t, p.c.Process, stage.Dial{To: to, From: from}, p.proxied(v6, to))
		p.eventually("flows are gone", func() error { return p.flowsOf("direct", 0) })
	}
	if n := p.count("direct_lost"); n > 0 {
		t.Errorf("%d connections were lost", n)
	}
}

func TestDirectBudget(t *testing.T) {
	h := newTheater(t)
	h.setup.LegLimit = 3
	p := &play{theater: h, c: h.Pod("c"), s: h.Pod("s"), x: h.Pod("x")}
	h.Namespace(ambient, "")
	h.start()
	p.proxy = h.Role("proxy", "proxy", "AMBIT_STAGE_ZDS="+h.Socket(), "AMBIT_STAGE_DIRECT=1")
	h.become(agent.ActualEnrolled, "c", "s", "x")
	p.answering(t)
	to := stage.At(p.s.V4, 8080)
	calls := []*pb.DirectCall{callFrom(p.c, to, place(p.s, to)), callFrom(p.x, to, place(p.s, to))}
	p.allow(t, calls...)
	var held []stage.Conn
	for range 3 {
		held = append(held, p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false)))
	}
	p.allow(t, calls...)
	for range 2 { // turned back
		p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(false, to))
	}
	if back, lost := h.count("direct_turned_back"), h.count("direct_lost"); back != 2 || lost != 0 {
		t.Errorf("%d were turned back, %d lost; want 2 and 0", back, lost)
	}
	p.check(t, p.x.Process, stage.Dial{To: to}, want{who: "s", client: p.x.V4.String()}) // another pod's budget
	for _, c := range held {
		p.c.Process.Close(t, c)
	}
	p.eventually("the budget is free again", func() error { return p.flowsOf("direct", 1) })
	p.allow(t, calls...)
	p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
}

// fill puts something into every free place of a pinned map.
func (h *theater) fill(t *testing.T, name string) (empty func()) {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(h.BPFFS, "ambit", h.setup.Instance, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	const batch = 4096
	random, keys, values := rand.New(rand.NewPCG(1, 2)), [][]byte{}, make([]byte, batch*int(m.ValueSize()))
	for full := false; !full; {
		part := make([]byte, batch*int(m.KeySize()))
		for i := range part {
			part[i] = byte(random.Uint32())
		}
		_, err := m.BatchUpdate(rows(part, m.KeySize()), rows(values, m.ValueSize()), nil)
		if full = errors.Is(err, unix.E2BIG); err != nil && !full {
			t.Fatalf("fill map %s: %v", name, err)
		}
		keys = append(keys, part)
		if len(keys) > 2*int(m.MaxEntries())/batch+2 {
			t.Fatalf("map %s is never full", name)
		}
	}
	return func() {
		for _, part := range keys {
			for k := range slices.Chunk(part, int(m.KeySize())) {
				if err := m.Delete(k); err != nil {
					return // the rest found no room
				}
			}
		}
	}
}

// rows cuts a batch into what the library wants to see: a slice of arrays.
func rows(b []byte, size uint32) any {
	n := len(b) / int(size)
	out := reflect.MakeSlice(reflect.SliceOf(reflect.ArrayOf(int(size), reflect.TypeFor[byte]())), n, n)
	for i := range n {
		reflect.Copy(out.Index(i), reflect.ValueOf(b[i*int(size):]))
	}
	return out.Interface()
}

func TestDirectFullMaps(t *testing.T) {
	p := newDirectPlay(t)
	to := stage.At(p.s.V4, 8080)
	call := callFrom(p.c, to, place(p.s, to))
	t.Run("flows", func(t *testing.T) {
		empty := p.fill(t, "direct_flows")
		p.allow(t, call)
		p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(false, to))
		empty()
		p.allow(t, call)
		p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
	})
	for i, name := range []string{"verdicts", "accounts"} {
		t.Run(name, func(t *testing.T) {
			to := stage.At(p.s.V4, 9000+i)
			p.s.Listen(t, to, "s")
			call := callFrom(p.c, to, place(p.s, to))
			empty := p.fill(t, name)
			var out pb.DirectResponse
			allow := &pb.DirectRequest{Payload: &pb.DirectRequest_Allow{Allow: &pb.AllowDirect{Generation: generation, Calls: []*pb.DirectCall{call}}}}
			if err := p.proxy.TryOrder(stage.Order{Generation: generation, Lease: leaseTime}, allow, &out); err != nil || out.GetError() == "" {
				t.Errorf("the agent answers %v %v", &out, err)
			}
			p.check(t, p.c.Process, stage.Dial{To: to}, p.proxied(false, to))
			empty()
			p.allow(t, call)
			p.check(t, p.c.Process, stage.Dial{To: to}, p.directly(false))
		})
	}
	t.Run("budgets", func(t *testing.T) { // a pod without one is in the mesh by way of the proxy
		empty := p.fill(t, "budgets")
		defer empty()
		late := p.Pod("late")
		p.become(agent.ActualEnrolled, "late")
		p.allow(t, callFrom(late, to, place(p.s, to)))
		from := late.V4.String()
		p.check(t, late.Process, stage.Dial{To: to}, want{who: "s", client: from, events: []string{"out late " + from + ">" + to, "in s " + from + ">" + to}})
	})
}
