package demo

import (
	"context"
	"fmt"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

const (
	namespace = "shop"
	port      = 8080
)

// shop is the demo's world: web calls orders, orders calls payments, and a visitor outside the mesh
// looks on.
type shop struct {
	lab *lab.Lab

	web, orders, visitor *lab.Pod
	payments             [2]*lab.Pod
	listeners            map[*lab.Pod]int

	ordersService, paymentsService *lab.Service

	old    *lab.Conn // opened before the label, kept through everything
	direct latencies // measured before the label
}

// build makes the pods and their servers. Web is on node-a and orders on node-b, so that what they say
// crosses the fabric; payments has one pod on each.
func build(ctx context.Context, l *lab.Lab) (*shop, error) {
	s := &shop{lab: l, listeners: map[*lab.Pod]int{}}
	if err := l.Enrol(namespace, false); err != nil {
		return nil, err
	}
	if err := l.Enrol("outside", false); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		pod                            **lab.Pod
		namespace, name, account, node string
	}{
		{&s.web, namespace, "web", "web", "node-a"},
		{&s.orders, namespace, "orders", "orders", "node-b"},
		{&s.payments[0], namespace, "payments-1", "payments", "node-a"},
		{&s.payments[1], namespace, "payments-2", "payments", "node-b"},
		{&s.visitor, "outside", "visitor", "visitor", "node-b"},
	} {
		pod, err := l.AddPod(ctx, lab.PodSpec{
			Namespace: p.namespace, Name: p.name, Node: p.node, ServiceAccount: p.account,
			Labels: map[string]string{"app": p.account},
		})
		if err != nil {
			return nil, err
		}
		*p.pod = pod
		if err := s.open(ctx, pod); err != nil {
			return nil, err
		}
	}
	return s, s.addServices()
}

func (s *shop) addServices() (err error) {
	add := func(name string) (*lab.Service, error) {
		return s.lab.AddService(lab.ServiceSpec{
			Namespace: namespace, Name: name, Selector: map[string]string{"app": name},
			Ports: []lab.ServicePort{{Name: "tcp", Port: port}},
		})
	}
	if s.ordersService, err = add("orders"); err != nil {
		return err
	}
	s.paymentsService, err = add("payments")
	return err
}

// open makes the pod serve: a line with the addresses that the server sees, then an echo.
func (s *shop) open(ctx context.Context, p *lab.Pod) error {
	a, err := p.App()
	if err != nil {
		return err
	}
	l, err := a.Listen(ctx, app.ListenArgs{Kind: app.Banner, Port: port, Name: p.Name})
	if err != nil {
		return fmt.Errorf("serve in %s: %w", p.FullName(), err)
	}
	s.listeners[p] = l.ID
	return nil
}

// shut closes the pod's server: calls are refused from now on.
func (s *shop) shut(ctx context.Context, p *lab.Pod) error {
	a, err := p.App()
	if err != nil {
		return err
	}
	return a.Unlisten(ctx, s.listeners[p])
}

// meshed are the pods of the labelled namespace.
func (s *shop) meshed() []*lab.Pod {
	return []*lab.Pod{s.web, s.orders, s.payments[0], s.payments[1]}
}

func (s *shop) nodes() []*lab.Node {
	return []*lab.Node{s.lab.Node("node-a"), s.lab.Node("node-b")}
}

// ask opens a connection from a pod, reads the server's line, pings and closes.
func ask(ctx context.Context, from *lab.Pod, address string) error {
	a, err := from.App()
	if err != nil {
		return err
	}
	_, err = a.Ask(ctx, app.DialArgs{Address: address, Timeout: dialLimit})
	return err
}
