package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

const (
	directPings = 2000
	meshPings   = 2000
)

// latencies are medians of one message and its echo on a connection that is held.
type latencies struct{ across, same time.Duration }

// measure plays ping-pong from web to orders on the other node, and from orders to payments-2 beside it.
func (s *shop) measure(ctx context.Context, pings int) (l latencies, err error) {
	if l.across, err = pingPong(ctx, s.web, s.orders.At(false, port), pings); err != nil {
		return l, err
	}
	l.same, err = pingPong(ctx, s.orders, s.payments[1].At(false, port), pings)
	return l, err
}

func pingPong(ctx context.Context, from *lab.Pod, address string, pings int) (time.Duration, error) {
	a, err := from.App()
	if err != nil {
		return 0, err
	}
	loop, err := a.Loop(ctx, app.LoopArgs{Dial: app.DialArgs{Address: address, Timeout: dialLimit}, Held: true, Banner: true, Count: pings})
	if err != nil {
		return 0, err
	}
	var r app.Report
	err = lab.Eventually(ctx, func(ctx context.Context) error {
		if r, err = loop.Report(ctx); err == nil && r.Running {
			err = fmt.Errorf("%d of %d pings done", r.OK, pings)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if r.Failed > 0 || r.OK != pings {
		return 0, fmt.Errorf("ping-pong from %s to %s: %d of %d, errors %v", from.FullName(), address, r.OK, pings, r.Errors)
	}
	_, err = loop.Stop(ctx)
	return r.P50, err
}

// resident is a process's resident memory in MB.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
			}
			return kb * 1024 / 1e6, nil
		}
	}
	return 0, fmt.Errorf("process %d has no resident memory", pid)
}

type metric struct {
	labels map[string]string
	value  float64
}

// metrics scrapes a node's ztunnel. Only counters and gauges are returned.
func metrics(ctx context.Context, n *lab.Node) (map[string][]metric, error) {
	b, err := n.GetZtunnel(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("parse metrics of %s: %w", n.Name, err)
	}
	out := map[string][]metric{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			x := metric{map[string]string{}, m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()}
			for _, l := range m.GetLabel() {
				x.labels[l.GetName()] = l.GetValue()
			}
			out[name] = append(out[name], x)
		}
	}
	return out, nil
}
