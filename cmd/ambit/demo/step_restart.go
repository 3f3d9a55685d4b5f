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

// kill ends web's proxy by SIGKILL under load and starts it again.
func (s *shop) kill(ctx context.Context) (string, error) {
	a, err := s.web.App()
	if err != nil {
		return "", err
	}
	load, err := a.Loop(ctx, app.LoopArgs{Dial: app.DialArgs{Address: s.ordersService.At(false, port), Timeout: 20 * time.Second},
		Banner: true, Workers: 4, Interval: 10 * time.Millisecond})
	if err != nil {
		return "", err
	}
	gone, err := s.killAndStart(ctx, load)
	report, stopErr := load.Stop(ctx)
	if err := errors.Join(err, stopErr); err != nil {
		return "", err
	}
	refused, broken := sort(report.Errors)
	if refused > 0 {
		return "", fmt.Errorf("%d connects failed: %v", refused, report.Errors)
	}
	return fmt.Sprintf("gone for %s under load; %d connects, none failed, the longest waited %s; %d connections that ran through the killed process broke", round(gone), report.OK+report.Failed, round(report.Max), broken), nil
}

func (s *shop) killAndStart(ctx context.Context, load *lab.Loop) (time.Duration, error) {
	n := s.web.Node
	old := n.Ztunnel()
	if old == nil {
		return 0, errors.New("no ztunnel runs on " + n.Name)
	}
	if err := more(ctx, load, 50); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := old.Kill(); err != nil {
		return 0, err
	}
	time.Sleep(time.Second) // connects pile up
	if _, err := n.StartZtunnel(ctx); err != nil {
		return 0, err
	}
	gone := time.Since(begin)
	return gone, errors.Join(more(ctx, load, 100), old.Remove())
}

// more waits for so many good calls from now on.
func more(ctx context.Context, load *lab.Loop, calls int) error {
	before, err := load.Report(ctx)
	if err != nil {
		return err
	}
	return lab.Eventually(ctx, func(ctx context.Context) error {
		now, err := load.Report(ctx)
		if err == nil && now.OK < before.OK+calls {
			err = fmt.Errorf("%d good calls since, want %d; errors %v", now.OK-before.OK, calls, now.Errors)
		}
		return err
	})
}

// sort counts failed connects and connections that broke later.
func sort(errs map[string]int) (refused, broken int) {
	for text, n := range errs {
		if strings.HasPrefix(text, "dial") {
			refused += n
		} else {
			broken += n
		}
	}
	return refused, broken
}
