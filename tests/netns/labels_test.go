package netns

import (
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestLabels changes labels under traffic.
func TestLabels(t *testing.T) {
	m := start(t, lab.Options{})
	must(t, m.Enrol("shop", false))
	client, near, far := m.pod(t, "shop/client", "node-a"), m.pod(t, "shop/near", "node-a"), m.pod(t, "shop/far", "node-b")
	pods := []*lab.Pod{client, near, far}
	must(t, lab.WaitPlain(ctx(t), pods...))

	before := hold(t, client, near, far)
	m.enrol(t, "shop", pods...)
	t.Run("connections live on across enrolment", func(t *testing.T) { pingAll(t, before) })
	during := hold(t, client, near, far)
	must(t, m.Enrol("shop", false))
	time.Sleep(time.Second) // by then capture is off, and what would break has broken
	t.Run("connections live on across un-enrolment", func(t *testing.T) { pingAll(t, before); pingAll(t, during) })
	closeAll(t, during)
	must(t, lab.WaitPlain(ctx(t), pods...))
	pingAll(t, before)
	closeAll(t, before)

	t.Run("label cycles under traffic", func(t *testing.T) { m.cycles(t, long(100, 8), client, near, far) })
	t.Run("a pod's label goes before its namespace's", func(t *testing.T) {
		m.enrol(t, "shop", pods...)
		must(t, near.Label(lab.ModeLabel, "none"))
		must(t, lab.WaitPlain(ctx(t), near))
		both(t, func(t *testing.T, v6 bool) { must(t, answers(ctx(t), program(t, client), near.At(v6, portBanner))) })
		must(t, near.Label(lab.ModeLabel, ""))
		must(t, lab.WaitEnrolled(ctx(t), near))
	})
}

// hold opens connections of both families to pods.
func hold(t *testing.T, from *lab.Pod, to ...*lab.Pod) (out []*lab.Conn) {
	t.Helper()
	for _, p := range to {
		for _, v6 := range []bool{false, true} {
			c, err := program(t, from).To(ctx(t), p.At(v6, portEcho))
			must(t, err)
			must(t, c.Ping(ctx(t)))
			out = append(out, c)
		}
	}
	return out
}

func pingAll(t *testing.T, conns []*lab.Conn) {
	t.Helper()
	for _, c := range conns {
		if err := c.Ping(ctx(t), make([]byte, 10_000)...); err != nil {
			t.Errorf("connection to %s: %v", c.Remote, err)
		}
	}
}

func closeAll(t *testing.T, conns []*lab.Conn) {
	t.Helper()
	for _, c := range conns {
		must(t, c.Close(ctx(t)))
	}
}

// cycles switches the label while connections are made and held.
func (m *mesh) cycles(t *testing.T, n int, client *lab.Pod, to ...*lab.Pod) {
	var stops []func(*testing.T) app.Report
	for _, p := range to {
		for _, v6 := range []bool{false, true} {
			stops = append(stops, callsTo(t, client, p.At(v6, portBanner)))
			stops = append(stops, callsTo(t, client, p.At(v6, portEcho), func(a *app.LoopArgs) { a.Held, a.Banner, a.Workers = true, false, 1 }))
		}
	}
	pods := append([]*lab.Pod{client}, to...)
	for i := range n {
		must(t, m.Enrol("shop", true))
		if i%2 == 0 { // every other time the change comes in the middle of the last one
			must(t, lab.WaitEnrolled(ctx(t), pods...))
		} else {
			time.Sleep(150 * time.Millisecond)
		}
		must(t, m.Enrol("shop", false))
		time.Sleep(300 * time.Millisecond)
	}
	for _, stop := range stops {
		noneFailed(t, stop(t))
	}
}
