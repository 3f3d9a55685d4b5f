package netns

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

// countedAlike makes the same calls direct and, for a policy that is only tried, through the proxy: every series
// must grow alike, labels and all.
func (s *shop) countedAlike(t *testing.T) {
	long(both, func(t *testing.T, f func(*testing.T, bool)) { f(t, true) })(t, func(t *testing.T, v6 bool) {
		client := s.pod(t, fmt.Sprintf("shop/counted-%v", v6), "node-a", func(p *lab.PodSpec) { p.ServiceAccount = "counted" })
		must(t, lab.WaitEnrolled(ctx(t), client))
		must(t, s.waitTunnels(ctx(t), client))
		for _, port := range []int{portEcho, portSink, portBulk, portBanner} {
			s.openedDirect(t, client, s.near.At(v6, port))
		}
		flows := s.flows(t, "node-a")
		direct := s.grown(t, client, func() { exercise(t, client, s.near, v6) })
		if got := s.flows(t, "node-a") - flows; got != exercises {
			t.Errorf("%d connections went direct, want %d", got, exercises)
		}
		must(t, s.Apply("policy-tried", `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tried, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec:
  action: DENY
  rules: [{from: [{source: {serviceAccounts: ["shop/counted"]}}]}]
`))
		defer func() { must(t, s.Remove("policy-tried")) }()
		eventually(t, func() error { return s.proxied(t, client, s.near.At(v6, portBanner)) })
		proxied := s.grown(t, client, func() { exercise(t, client, s.near, v6) })
		if !maps.Equal(direct, proxied) || len(direct) < 8 {
			t.Errorf("series of direct connections have grown by\n%v\nof proxied ones by\n%v", direct, proxied)
		}
	})
}

// exercises is how many connections exercise makes.
const exercises = 7

func exercise(t *testing.T, from, to *lab.Pod, v6 bool) {
	t.Helper()
	for i := range 3 {
		c, err := program(t, from).To(ctx(t), to.At(v6, portEcho))
		must(t, err)
		must(t, c.Ping(ctx(t), make([]byte, 1+i*5000)...))
		must(t, c.Close(ctx(t)))
	}
	c, err := program(t, from).To(ctx(t), to.At(v6, portSink)) // half-close by the client first
	must(t, err)
	must(t, c.Write(ctx(t), []byte("hello")))
	must(t, c.CloseWrite(ctx(t)))
	_, err = c.Read(ctx(t), -1)
	must(t, err)
	must(t, c.Close(ctx(t)))
	must(t, answers(ctx(t), program(t, from), to.At(v6, portBanner)))
	bulk(t, from, to, v6, 1<<20)
	held, err := program(t, from).To(ctx(t), to.At(v6, portEcho)) // runs on
	must(t, err)
	must(t, held.Ping(ctx(t), make([]byte, 777)...))
}

// grown is by how much the series between two pods have grown, once they have come to rest.
func (s *shop) grown(t *testing.T, client *lab.Pod, f func()) map[string]float64 {
	t.Helper()
	before := s.settled(t, client)
	f()
	out := s.settled(t, client)
	for k, v := range before {
		if out[k] -= v; out[k] == 0 {
			delete(out, k)
		}
	}
	return out
}

// settled are the series of a client once nothing grows any more from one reading of the proxy's to the next.
func (s *shop) settled(t *testing.T, client *lab.Pod) map[string]float64 {
	t.Helper()
	var last map[string]float64
	eventuallyWithin(t, time.Minute, func() error {
		now := map[string]float64{}
		b, err := s.Node("node-a").GetZtunnel(ctx(t), "/metrics")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if series, value, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(series, "istio_tcp_") && strings.Contains(series, client.Identity()) {
				var v float64
				_, err = fmt.Sscan(value, &v)
				now[series] = v
			}
		}
		if err == nil && last == nil || !maps.Equal(last, now) {
			err = errors.New("still growing")
		}
		last = now
		if err != nil {
			time.Sleep(6 * time.Second)
		}
		return err
	})
	return last
}
