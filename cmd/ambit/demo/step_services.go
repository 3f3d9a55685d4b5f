package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// eject breaks one payments pod under load: clients must not see it.
func (s *shop) eject(ctx context.Context) (string, error) {
	if err := s.lab.Apply("eject-payments", ejectPayments); err != nil {
		return "", err
	}
	a, err := s.orders.App()
	if err != nil {
		return "", err
	}
	load, err := a.Loop(ctx, app.LoopArgs{Dial: app.DialArgs{Address: s.paymentsService.At(false, port), Timeout: dialLimit},
		Banner: true, Workers: 4, Interval: 20 * time.Millisecond})
	if err != nil {
		return "", err
	}
	saw, err := s.breakOne(ctx, load)
	report, stopErr := load.Stop(ctx)
	if err := errors.Join(err, stopErr); err != nil {
		return "", err
	}
	if report.Failed > 0 {
		return "", fmt.Errorf("%d of %d calls failed: %v", report.Failed, report.OK+report.Failed, report.Errors)
	}
	return fmt.Sprintf("%s; of %d calls in all that time none failed", saw, report.OK), nil
}

// breakOne closes the server of payments-2 until it is ejected, then opens it again until it is back.
func (s *shop) breakOne(ctx context.Context, load *lab.Loop) (string, error) {
	bad := s.payments[1]
	if err := bothServe(ctx, load); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.shut(ctx, bad); err != nil {
		return "", err
	}
	if err := s.waitEjected(ctx, bad, true); err != nil {
		return "", err
	}
	out := time.Now()
	retried, err := s.logged(s.orders.Node.Name, begin, func(l logLine) bool { return l.Source == "orders" && l.Direction == "outbound" && l.Attempts > 1 })
	if err != nil {
		return "", err
	}
	if len(retried) < ejectAfter {
		return "", fmt.Errorf("ejected after %d failures that the log shows, not %d", len(retried), ejectAfter)
	}
	if err := s.open(ctx, bad); err != nil {
		return "", err
	}
	if err := s.waitEjected(ctx, bad, false); err != nil {
		return "", err
	}
	back := time.Now()
	if err := bothServe(ctx, load); err != nil {
		return "", err
	}
	return fmt.Sprintf("payments-2 refuses connections: %d connects were retried on payments-1, then it was ejected, %s after it broke; back after %s", len(retried), round(out.Sub(begin)), round(back.Sub(out))), nil
}

// ejectAfter is consecutive5xxErrors of the demo's DestinationRule.
const ejectAfter = 5

// waitEjected waits until orders' proxy has ejected the pod, or has not.
func (s *shop) waitEjected(ctx context.Context, p *lab.Pod, want bool) error {
	return lab.Eventually(ctx, func(ctx context.Context) error {
		e, err := explain(ctx, s.orders, s.paymentsService.Host)
		if err != nil {
			return err
		}
		for _, x := range e.Endpoints {
			if strings.HasSuffix(x.Workload, p.FullName()) {
				if x.Ejected != want {
					return fmt.Errorf("endpoint %s: ejected %v, want %v", x.Workload, x.Ejected, want)
				}
				return nil
			}
		}
		return fmt.Errorf("service %s has no endpoint %s", s.paymentsService.Host, p.FullName())
	})
}

// bothServe waits until both payments pods have answered since now.
func bothServe(ctx context.Context, load *lab.Loop) error {
	before, err := load.Report(ctx)
	if err != nil {
		return err
	}
	return lab.Eventually(ctx, func(ctx context.Context) error {
		now, err := load.Report(ctx)
		if err != nil {
			return err
		}
		for _, name := range []string{"payments-1", "payments-2"} {
			if !answered(now.Names, name, before.Names) {
				return fmt.Errorf("no answer of %s: answers %v, before %v, errors %v", name, now.Names, before.Names, now.Errors)
			}
		}
		return nil
	})
}

// answered says whether a server's count has grown. Names are of servers: the pod's, with a number.
func answered(now map[string]int, name string, before map[string]int) bool {
	for n, count := range now {
		if strings.Contains(n, name) && count > before[n] {
			return true
		}
	}
	return false
}
