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

// eject breaks one payments pod: clients must not see it.
func (s *shop) eject(ctx context.Context) (string, error) {
	if err := s.lab.Apply("eject-payments", ejectPayments); err != nil {
		return "", err
	}
	if _, err := s.underLoad(ctx, func(load *lab.Loop) error { return bothServe(ctx, load) }); err != nil {
		return "", err
	}
	// The server is shut while no call is under way: a call that breaks in the middle is its own, not
	// the mesh's, to try again.
	begin := time.Now()
	if err := s.shut(ctx, s.payments[1]); err != nil {
		return "", err
	}
	var saw string
	calls, err := s.underLoad(ctx, func(load *lab.Loop) (err error) {
		saw, err = s.followEjection(ctx, load, begin)
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; of %d calls in all that time none failed", saw, calls), nil
}

// underLoad runs f while orders calls payments, and returns how many calls there were. One that fails is
// an error.
func (s *shop) underLoad(ctx context.Context, f func(*lab.Loop) error) (int, error) {
	a, err := s.orders.App()
	if err != nil {
		return 0, err
	}
	load, err := a.Loop(ctx, app.LoopArgs{Dial: app.DialArgs{Address: s.paymentsService.At(false, port), Timeout: dialLimit},
		Banner: true, Workers: 4, Interval: 20 * time.Millisecond})
	if err != nil {
		return 0, err
	}
	err = f(load)
	report, stopErr := load.Stop(ctx)
	if err := errors.Join(err, stopErr); err != nil {
		return 0, err
	}
	if report.Failed > 0 {
		return 0, fmt.Errorf("%d of %d calls failed: %v", report.Failed, report.OK+report.Failed, report.Errors)
	}
	return report.OK, nil
}

// followEjection waits until payments-2, shut at begin, is ejected, then opens it until it is back.
func (s *shop) followEjection(ctx context.Context, load *lab.Loop, begin time.Time) (string, error) {
	bad := s.payments[1]
	if err := s.waitEjected(ctx, bad, true); err != nil {
		return "", err
	}
	out := time.Now()
	retried, err := s.retried(ctx, begin)
	if err != nil {
		return "", err
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
	return fmt.Sprintf("payments-2 refuses connections: %d connects were retried on payments-1, then it was ejected, %s after it broke; back after %s", retried, round(out.Sub(begin)), round(back.Sub(out))), nil
}

// retried counts orders' connects that took more than one endpoint. Lines are written when connections end.
func (s *shop) retried(ctx context.Context, since time.Time) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, logWait)
	defer cancel()
	err = lab.Eventually(ctx, func(context.Context) error {
		lines, err := s.logged(s.orders.Node.Name, since, func(l logLine) bool {
			return l.Source == "orders" && l.Direction == "outbound" && l.Attempts > 1
		})
		if n = len(lines); err == nil && n < ejectAfter {
			err = fmt.Errorf("ejected after %d failures that the log shows, not %d", n, ejectAfter)
		}
		return err
	})
	return n, err
}

const logWait = 5 * time.Second

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
