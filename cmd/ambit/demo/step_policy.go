package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

const policyWait = 15 * time.Second

// allow lets only orders call payments, and shows web's refusal with its reason.
func (s *shop) allow(ctx context.Context) (string, error) {
	address := s.payments[1].At(false, port)
	if err := ask(ctx, s.web, address); err != nil {
		return "", fmt.Errorf("web could not call payments before the policy: %w", err)
	}
	if err := s.lab.Apply("policy-payments", paymentsPolicy); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := refusedSoon(ctx, s.web, address); err != nil {
		return "", err
	}
	took := time.Since(begin)
	if err := ask(ctx, s.orders, address); err != nil {
		return "", fmt.Errorf("orders may call payments and was refused: %w", err)
	}
	line, err := s.waitLogged(ctx, "node-b", begin, func(l logLine) bool { return l.Dest == "payments-2" && l.Source == "web" && l.Reason != "" })
	if err != nil {
		return "", err
	}
	e, err := explain(ctx, s.web, s.payments[1].FullName())
	if err != nil {
		return "", err
	}
	if e.Allowed || e.Reason != line.Reason {
		return "", fmt.Errorf("explain says allowed %v, reason %q; the log says %q", e.Allowed, e.Reason, line.Reason)
	}
	return fmt.Sprintf("orders is served; web is refused after %s: %s (%s), said alike by the log of payments' node and by ambit explain", round(took), e.Reason, e.Detail), nil
}

// refusedSoon is nil once calls fail, for good.
func refusedSoon(ctx context.Context, from *lab.Pod, address string) error {
	ctx, cancel := context.WithTimeout(ctx, policyWait)
	defer cancel()
	return lab.Eventually(ctx, func(ctx context.Context) error {
		for range 3 {
			if err := ask(ctx, from, address); err == nil {
				return fmt.Errorf("%s still reaches %s", from.FullName(), address)
			}
		}
		return ctx.Err()
	})
}

// strict shuts the visitor out, and nobody else.
func (s *shop) strict(ctx context.Context) (string, error) {
	address := s.web.At(false, port)
	if err := ask(ctx, s.visitor, address); err != nil {
		return "", fmt.Errorf("the visitor could not call web before STRICT: %w", err)
	}
	if err := s.lab.Apply("strict", strictMTLS); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := refusedSoon(ctx, s.visitor, address); err != nil {
		return "", err
	}
	line, err := s.waitLogged(ctx, "node-a", begin, func(l logLine) bool { return l.Dest == "web" && l.Direction == "inbound" && l.Reason != "" })
	if err != nil {
		return "", err
	}
	if line.Reason != "mtls_required" {
		return "", fmt.Errorf("refused for %q, not because mTLS is required", line.Reason)
	}
	banner, err := s.web.Node.Probe(ctx, address)
	if err != nil {
		return "", fmt.Errorf("the kubelet's probe: %w", err)
	}
	if err := s.otherProcessRefused(ctx, address); err != nil {
		return "", err
	}
	if err := ask(ctx, s.web, s.ordersService.At(false, port)); err != nil {
		return "", fmt.Errorf("web could not call orders under STRICT: %w", err)
	}
	return fmt.Sprintf("the visitor is refused (%s); the kubelet's probe from %s passes, another process of the same node does not; web calls orders as before", line.Reason, banner.Remote), nil
}

// otherProcessRefused: not the node's address is exempt, but the kubelet's cgroup.
func (s *shop) otherProcessRefused(ctx context.Context, address string) error {
	a, err := s.web.Node.Process()
	if err != nil {
		return err
	}
	defer a.Close()
	if _, err := a.Ask(ctx, app.DialArgs{Address: address, Timeout: dialLimit}); err == nil {
		return errors.New("a process of the node that is not the kubelet passes under STRICT")
	}
	return nil
}
