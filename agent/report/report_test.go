package report

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/agent"
	"github.com/ambitmesh/ambit/internal/objects/fakeapi"
)

const (
	podsPath   = "/api/v1/pods"
	eventsPath = "/api/v1/events"
)

// desk is a writer before a fake API server.
type desk struct {
	*testing.T
	api *fakeapi.Server
	w   *Writer

	mu   sync.Mutex
	pods []agent.PodStatus
	now  time.Time
}

func newDesk(t *testing.T, pods ...agent.PodStatus) *desk {
	t.Helper()
	d := &desk{T: t, api: fakeapi.New(t, podsPath, eventsPath), pods: pods, now: time.Now()}
	for _, p := range pods {
		d.api.Put(podsPath, fmt.Sprintf("metadata: {namespace: %s, name: %s, uid: %s, annotations: {keep: me}}", p.Namespace, p.Name, p.UID))
	}
	var err error
	d.w, err = New(Options{
		Config: d.api.Config(), Node: "n1", Log: slog.New(slog.DiscardHandler), Now: d.clock, Registry: prometheus.NewRegistry(),
		Pods: d.statuses,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// statuses are the pods with the annotations that they have by now, as a watch would tell.
func (d *desk) statuses() []agent.PodStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := append([]agent.PodStatus{}, d.pods...)
	for i := range out {
		out[i].Announced = d.annotation(out[i].Name) == Enabled
	}
	return out
}

func (d *desk) clock() time.Time { d.mu.Lock(); defer d.mu.Unlock(); return d.now }

func (d *desk) pass(t time.Duration) { d.mu.Lock(); defer d.mu.Unlock(); d.now = d.now.Add(t) }

func (d *desk) change(f func(p *agent.PodStatus)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.pods[0])
}

func (d *desk) annotation(name string) string {
	o := d.api.Get(podsPath, "shop", name)
	if o == nil {
		return ""
	}
	m, _ := o["metadata"].(map[string]any)
	a, _ := m["annotations"].(map[string]any)
	if a["keep"] != "me" {
		d.Errorf("another annotation is lost: %v", a)
	}
	v, _ := a[Annotation].(string)
	return v
}

func (d *desk) calls(part string) (n int) {
	for _, c := range d.api.Calls() {
		if strings.Contains(c, part) {
			n++
		}
	}
	return n
}

func status(actual agent.Actual, captured bool) agent.PodStatus {
	return agent.PodStatus{Namespace: "shop", Name: "a", UID: "u1", Desired: agent.DesiredAmbient, Actual: actual, Captured: captured, Since: time.Now()}
}

func TestAnnotationFollowsThePod(t *testing.T) {
	d := newDesk(t, status(agent.ActualWaiting, false))
	round := func(want string) {
		t.Helper()
		d.w.round(t.Context())
		if got := d.annotation("a"); got != want {
			t.Errorf("annotation %q, want %q; pod %+v", got, want, d.pods[0])
		}
	}
	round("")
	d.change(func(p *agent.PodStatus) { p.Actual, p.Captured = agent.ActualEnrolling, true })
	round(Enabled)
	n := d.calls("PATCH")
	d.change(func(p *agent.PodStatus) { p.Actual = agent.ActualEnrolled })
	round(Enabled)
	d.change(func(p *agent.PodStatus) { p.Actual, p.Captured = agent.ActualPlain, false }) // an agent that has just started
	round(Enabled)
	if got := d.calls("PATCH"); got != n || n != 1 {
		t.Errorf("%d calls, want 1", got)
	}
	d.change(func(p *agent.PodStatus) { p.Actual, p.Desired = agent.ActualRetiring, agent.DesiredNone })
	round("")
	if !strings.HasPrefix(d.api.Calls()[0], "PATCH /api/v1/namespaces/shop/pods/a/status") {
		t.Errorf("calls %v", d.api.Calls())
	}
}

// TestStaleAnnotation: after a node's restart a pod may fail to be captured again; peers must not call it by a tunnel for ever.
func TestStaleAnnotation(t *testing.T) {
	d := newDesk(t, status(agent.ActualEnrolled, true))
	d.w.round(t.Context())
	d.change(func(p *agent.PodStatus) { p.Actual, p.Captured, p.Since = agent.ActualFailed, false, d.now })
	d.w.round(t.Context())
	if d.annotation("a") != Enabled {
		t.Error("removed at once")
	}
	d.pass(stuckAfter)
	d.w.round(t.Context())
	if d.annotation("a") != "" {
		t.Error("it stays")
	}
}

func TestErrorsAreTriedAgain(t *testing.T) {
	d := newDesk(t, status(agent.ActualEnrolled, true))
	d.api.Fail(func(*http.Request) int { return http.StatusInternalServerError })
	if again := d.w.round(t.Context()); again == nil {
		t.Error("it will not be tried again")
	}
	n := d.calls("PATCH")
	d.w.round(t.Context())
	if d.calls("PATCH") != n {
		t.Error("tried again at once")
	}
	d.api.Fail(nil)
	d.pass(firstRetry)
	d.w.round(t.Context())
	if d.annotation("a") != Enabled {
		t.Error("not written after the error")
	}
}

// TestAnotherPodOfTheName: the uid in the patch keeps the annotation off it.
func TestAnotherPodOfTheName(t *testing.T) {
	d := newDesk(t, status(agent.ActualEnrolled, true))
	d.change(func(p *agent.PodStatus) { p.UID = "u0" })
	d.w.round(t.Context())
	n := d.calls("PATCH")
	d.w.round(t.Context())
	if d.annotation("a") != "" || n != 1 || d.calls("PATCH") != n {
		t.Errorf("annotation %q after %d calls", d.annotation("a"), d.calls("PATCH"))
	}
}

func TestEvents(t *testing.T) {
	d := newDesk(t, status(agent.ActualFailed, false))
	d.change(func(p *agent.PodStatus) { p.Why = "no address that can be captured" })
	d.w.round(t.Context())
	if got := d.api.All(eventsPath); len(got) != 0 {
		t.Fatalf("an event of a moment's trouble: %v", got)
	}
	d.pass(stuckAfter)
	d.w.round(t.Context())
	d.w.round(t.Context())
	all := d.api.All(eventsPath)
	if len(all) != 1 || all[0]["reason"] != reasonFailed || !strings.Contains(fmt.Sprint(all[0]["message"]), "no address") || d.calls("POST") != 1 {
		t.Fatalf("events %v after %v", all, d.api.Calls())
	}
	d.change(func(p *agent.PodStatus) { p.Actual, p.Why = agent.ActualWaiting, "no node proxy is connected" })
	d.w.round(t.Context())
	if all := d.api.All(eventsPath); len(all) != 2 {
		t.Errorf("another reason: %v", all)
	}
	d.pass(eventAgain)
	d.w.round(t.Context())
	if all := d.api.All(eventsPath); len(all) != 2 || d.calls("PATCH /api/v1/namespaces/shop/events/a.") != 1 {
		t.Errorf("not said again: %v", d.api.Calls())
	}
}

func TestClear(t *testing.T) {
	d := newDesk(t, status(agent.ActualEnrolled, true))
	d.w.round(t.Context())
	d.api.Put(podsPath, "metadata: {namespace: shop, name: b, annotations: {keep: me, "+Annotation+": enabled}}\nspec: {nodeName: n2}")
	o := d.api.Get(podsPath, "shop", "a")
	if o["spec"] = map[string]any{"nodeName": "n1"}; d.annotation("a") != Enabled {
		t.Fatal("no annotation to clear")
	}
	d.api.Put(podsPath, fakeapi.YAML(o))
	if err := Clear(t.Context(), d.api.Config(), "n1"); err != nil {
		t.Fatal(err)
	}
	if d.annotation("a") != "" || d.annotation("b") != Enabled {
		t.Errorf("a has %q, another node's b %q", d.annotation("a"), d.annotation("b"))
	}
}

// TestRun: a change is written without waiting for the next look.
func TestRun(t *testing.T) {
	d := newDesk(t, status(agent.ActualWaiting, false))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.w.Run(ctx) }()
	d.change(func(p *agent.PodStatus) { p.Actual, p.Captured = agent.ActualEnrolled, true })
	d.w.Changed()
	for end := time.Now().Add(time.Minute); d.annotation("a") != Enabled; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never written")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
