package netns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// TestServices calls a service whose endpoints are on both nodes.
func TestServices(t *testing.T) {
	s := newShop(t, lab.Options{})
	one, two := s.backend(t, "one", "node-a", "web"), s.backend(t, "two", "node-b", "web")
	web := s.service(t, "web")
	t.Run("both endpoints answer", func(t *testing.T) {
		both(t, func(t *testing.T, v6 bool) {
			r := s.many(t, web.At(v6, 80), 60)
			noneFailed(t, r)
			for _, p := range []*lab.Pod{one, two} {
				if r.Names[p.FullName()] < 10 {
					t.Errorf("of 60 calls %v", r.Names)
				}
			}
		})
	})
	t.Run("the client sees the service's address", func(t *testing.T) {
		both(t, func(t *testing.T, v6 bool) {
			c, err := program(t, s.client).To(ctx(t), web.At(v6, 80))
			must(t, err)
			b, err := c.Banner(ctx(t))
			must(t, err)
			if c.Remote != web.At(v6, 80) {
				t.Errorf("peer %s, banner %+v", c.Remote, b)
			}
			must(t, c.Close(ctx(t)))
		})
	})
	t.Run("a pod that is not ready is left out", func(t *testing.T) {
		must(t, one.SetReady(false))
		eventually(t, func() error { return s.only(t, web.At(false, 80), two) })
		eventually(t, func() error { return s.only(t, web.At(true, 80), two) })
		must(t, one.SetReady(true))
		eventually(t, func() error {
			if s.only(t, web.At(false, 80), two) == nil {
				return fmt.Errorf("the pod is ready and gets nothing")
			}
			return nil
		})
	})
	t.Run("unknown port of a service", func(t *testing.T) {
		both(t, func(t *testing.T, v6 bool) { mustFail(t, s.client, web.At(v6, 81), 8*time.Second) })
	})
	t.Run("service without endpoints", func(t *testing.T) {
		none := s.service(t, "none")
		both(t, func(t *testing.T, v6 bool) {
			eventually(t, func() error { return refused(ctx(t), program(t, s.client), none.At(v6, 80)) })
		})
	})
	t.Run("plain endpoints", func(t *testing.T) {
		plain, err := s.AddService(lab.ServiceSpec{Namespace: "plain", Name: "plain", Selector: map[string]string{"app": "far"},
			Ports: []lab.ServicePort{{Name: "tcp", Port: 80, TargetPort: portBanner}}})
		must(t, err)
		both(t, func(t *testing.T, v6 bool) {
			eventually(t, func() error { return answers(ctx(t), program(t, s.client), plain.At(v6, 80)) })
		})
	})
}

// backend adds an enrolled pod for a service.
func (s *shop) backend(t *testing.T, name, node, service string) *lab.Pod {
	t.Helper()
	p := s.pod(t, "shop/"+name, node, func(spec *lab.PodSpec) {
		spec.Labels = map[string]string{"app": service}
		spec.ServiceAccount = service
	})
	must(t, lab.WaitEnrolled(ctx(t), p))
	must(t, s.waitTunnels(ctx(t), p))
	return p
}

// service makes a service "shop/<name>" for the pods app=<name>, its port 80 being their banner.
func (s *shop) service(t *testing.T, name string) *lab.Service {
	t.Helper()
	v, err := s.AddService(lab.ServiceSpec{Namespace: "shop", Name: name, Selector: map[string]string{"app": name},
		Ports: []lab.ServicePort{{Name: "tcp", Port: 80, TargetPort: portBanner}}})
	must(t, err)
	eventually(t, func() error {
		e, err := s.explain(ctx(t), "node-a", "shop/client", v.V4.String(), 80)
		if err == nil && e.Service == "" {
			err = fmt.Errorf("service %s is not known yet: %+v", name, e)
		}
		return err
	})
	return v
}

// many makes calls one after the other.
func (s *shop) many(t *testing.T, address string, n int) app.Report {
	t.Helper()
	l, err := program(t, s.client).Loop(ctx(t), app.LoopArgs{Dial: app.DialArgs{Address: address}, Banner: true, Count: n})
	must(t, err)
	for {
		r, err := l.Report(ctx(t))
		must(t, err)
		if !r.Running {
			return r
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// only is nil if 20 calls are all answered by one pod.
func (s *shop) only(t *testing.T, address string, p *lab.Pod) error {
	r := s.many(t, address, 20)
	if r.Failed > 0 || r.Names[p.FullName()] != 20 {
		return fmt.Errorf("of 20 calls %v, errors %v", r.Names, r.Errors)
	}
	return nil
}

// TestEjection has one of two endpoints refuse connections: clients see none of it, the endpoint is ejected
// after five failures and comes back.
func TestEjection(t *testing.T) {
	s := newShop(t, lab.Options{})
	good, bad := s.backend(t, "good", "node-a", "pay"), s.backend(t, "bad", "node-b", "pay")
	pay := s.service(t, "pay")
	s.eject(t, "shop", "pay", "4s")
	mustStopServing(t, bad)
	both(t, func(t *testing.T, v6 bool) {
		r := s.many(t, pay.At(v6, 80), 60)
		noneFailed(t, r)
		if r.Names[good.FullName()] != 60 {
			t.Errorf("of 60 calls %v", r.Names)
		}
	})
	eventually(t, func() error {
		s.many(t, pay.At(false, 80), 20) // by now it may be back, until it fails again
		return s.ejected("node-a", "pay", bad, true)
	})
	_, err := program(t, bad).Listen(ctx(t), app.ListenArgs{Kind: app.Banner, Port: portBanner, Name: bad.FullName()})
	must(t, err)
	eventually(t, func() error { return s.ejected("node-a", "pay", bad, false) })
	eventually(t, func() error {
		if r := s.many(t, pay.At(false, 80), 30); r.Names[bad.FullName()] == 0 {
			return fmt.Errorf("the endpoint is back and gets nothing: %v %v", r.Names, r.Errors)
		}
		return nil
	})
}

func mustStopServing(t *testing.T, p *lab.Pod) {
	t.Helper()
	must(t, program(t, p).UnlistenPort(ctx(t), portBanner))
}

// ejected checks what explain says of an endpoint.
func (s *shop) ejected(node, service string, p *lab.Pod, want bool) error {
	e, err := s.explain(ctx(s.t), node, "shop/client", "shop/"+service, 80)
	if err != nil {
		return err
	}
	for _, x := range e.Endpoints {
		if strings.HasSuffix(x.Workload, p.FullName()) && x.Ejected == want {
			return nil
		}
	}
	return fmt.Errorf("endpoint %s should have ejected=%v: %+v", p.FullName(), want, e.Endpoints)
}
