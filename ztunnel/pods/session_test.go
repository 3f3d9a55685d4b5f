package pods

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

func TestRetiredPodIsServedUntilDel(t *testing.T) {
	x := newFixture(t)
	p := podOf(t, "u1", "web", "10.0.0.1")
	back := copyOf(t, p)
	must(t, x.Add(p))
	must(t, x.Retire("u1"))
	if len(x.rest.captured) != 0 || !slices.Equal(x.rest.retired, []string{"c1//Pod/shop/web"}) {
		t.Errorf("captured %v, retired %v", x.rest.captured, x.rest.retired)
	}
	if q := x.at("10.0.0.1"); q == nil || !q.Leaving.Load() {
		t.Errorf("inbound is captured still, for a pod that leaves: %v", q)
	}
	x.expect(t, 3, 0)
	must(t, x.Add(back))
	if len(x.rest.captured) != 1 || x.at("10.0.0.1").Leaving.Load() {
		t.Error("a pod that was added again is still retiring")
	}
	if err := x.Retire("nobody"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown pod: %v", err)
	}
}

func TestSnapshotRemovesWhatItDoesNotName(t *testing.T) {
	x := newFixture(t)
	x.cfg.StaleAfter = 5 * time.Second // within which the agent's question below must come
	x.Begin()
	stays, asked := podOf(t, "stays", "a", "10.0.0.1"), podOf(t, "asked", "b", "10.0.0.2")
	again := copyOf(t, stays)
	must(t, x.Add(stays))
	must(t, x.Add(asked))
	must(t, x.Add(podOf(t, "goes", "c", "10.0.0.3")))
	must(t, x.SnapshotSent())
	x.End()
	if x.Synced() {
		t.Error("synced without a session")
	}
	if x.at("10.0.0.3") == nil {
		t.Error("without the agent nothing is handed over")
	}
	x.Begin()
	must(t, x.Add(again))
	must(t, x.SnapshotSent())
	if x.at("10.0.0.3") != nil {
		t.Error("an address that nobody claims is handed over")
	}
	if _, err := x.Return("asked"); err != nil {
		t.Errorf("a pod that the agent asks for right after: %v", err)
	}
	eventually(t, func() bool { return len(x.List()) == 2 })
	x.expect(t, 6, 1)
}

func TestNothingIsRemovedWhileTheAgentIsAway(t *testing.T) {
	x := newFixture(t)
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	x.Begin()
	must(t, x.SnapshotSent())
	x.End()
	x.Begin() // it has not come as far as the end of its snapshot
	time.Sleep(3 * x.cfg.StaleAfter)
	x.expect(t, 3, 0)
	must(t, x.Keep("u1"))
	if err := x.Keep("u2"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown pod: %v", err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not happen")
		}
	}
}

func TestQuery(t *testing.T) {
	x := newFixture(t)
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	must(t, x.Add(podOf(t, "u2", "db", "10.0.0.2")))
	p, other := x.at("10.0.0.1"), x.at("10.0.0.2")
	x.known = false
	x.now = x.now.Add(time.Minute)
	s, err := x.Query("u1")
	must(t, err)
	if s.Connections != 0 || s.PlainKnown || s.Idle != time.Minute || s.Waiting != "workload record" {
		t.Errorf("unused: %+v", s)
	}
	x.known, x.rest.plain = true, true
	p.Usage.Connections.Store(2)
	p.Usage.LastAccept.Store(x.now.Add(-20 * time.Second).UnixNano())
	if s, err = x.Query("u1"); err != nil || s.Connections != 2 || !s.PlainKnown || s.Idle != 20*time.Second || s.Waiting != "certificate" {
		t.Errorf("in use: %+v %v", s, err)
	}
	x.rest.cert = &identity.Cert{}
	handed := &engine.Record{Pod: other, Accepted: x.now.Add(-time.Second)}
	handed.Attempt.Dial = engine.Dial{Action: engine.Deliver, Pod: p}
	x.engine.records = []*engine.Record{handed, {Pod: p}}
	if s, err = x.Query("u1"); err != nil || s.Connections != 3 || s.Idle != time.Second || s.Waiting != "announcement" {
		t.Errorf("with a connection of another pod of the node: %+v %v", s, err)
	}
	x.rest.known = true
	if s, err = x.Query("u1"); err != nil || s.Waiting != "" {
		t.Errorf("known to all: %+v %v", s, err)
	}
	x.rest.known = false
	must(t, x.Retire("u1"))
	if s, err = x.Query("u1"); err != nil || s.Waiting != "" {
		t.Errorf("retiring: %+v %v", s, err)
	}
	if _, err := x.Query("nobody"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown pod: %v", err)
	}
}

func TestAddressThatMovedIsTheNewestPods(t *testing.T) {
	x := newFixture(t)
	must(t, x.Add(podOf(t, "old", "a", "10.0.0.1")))
	must(t, x.Add(podOf(t, "new", "b", "10.0.0.1")))
	if p := x.at("10.0.0.1"); p.UID != "new" {
		t.Errorf("the address is %s's", p.UID)
	}
	must(t, x.Del("new"))
	if p := x.at("10.0.0.1"); p == nil || p.UID != "old" {
		t.Errorf("the address is nobody's")
	}
}

func TestClosedRegistryTakesNoPods(t *testing.T) {
	x := newFixture(t)
	must(t, x.Add(podOf(t, "u1", "web", "10.0.0.1")))
	x.Close()
	if err := x.Add(podOf(t, "u2", "db", "10.0.0.2")); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	x.expect(t, 0, 2)
}
