package netns

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// refused is nil if a call ends soon and without an answer. Running into the time limit is not being
// refused.
func refused(c context.Context, a *lab.App, address string) error {
	b, err := a.Ask(c, app.DialArgs{Address: address, Timeout: 8 * time.Second})
	switch {
	case err == nil:
		return fmt.Errorf("%s answered %+v, want a refusal", address, b)
	case strings.Contains(err.Error(), "timeout"):
		return fmt.Errorf("%s was not refused: %w", address, err)
	}
	return nil
}

// answers is nil if a call is answered.
func answers(c context.Context, a *lab.App, address string) error {
	_, err := a.Ask(c, app.DialArgs{Address: address, Timeout: 8 * time.Second})
	return err
}

// callsTo starts connections to an address, a few hundred a second, until stop, which checks that none failed.
func callsTo(t *testing.T, from *lab.Pod, address string, change ...func(*app.LoopArgs)) (stop func(t *testing.T) app.Report) {
	t.Helper()
	args := app.LoopArgs{Dial: app.DialArgs{Address: address, Timeout: 40 * time.Second}, Banner: true, Workers: 4, Interval: 5 * time.Millisecond}
	for _, f := range change {
		f(&args)
	}
	l, err := program(t, from).Loop(ctx(t), args)
	must(t, err)
	eventually(t, func() error {
		r, err := l.Report(ctx(t))
		if err == nil && r.OK+r.Failed == 0 {
			err = fmt.Errorf("no call to %s yet", address)
		}
		return err
	})
	return func(t *testing.T) app.Report {
		t.Helper()
		r, err := l.Stop(ctx(t))
		must(t, err)
		t.Logf("%s: %d calls, %d failed %v, slowest %s", address, r.OK+r.Failed, r.Failed, r.Errors, r.Max.Round(time.Millisecond))
		return r
	}
}

// noneFailed checks a report.
func noneFailed(t *testing.T, r app.Report) {
	t.Helper()
	if r.Failed > 0 || r.OK == 0 {
		t.Errorf("%d of %d calls failed: %v", r.Failed, r.OK+r.Failed, r.Errors)
	}
}

// noneRefused checks that every connect succeeded; calls under way may have been cut, which a client may
// see as early as in connect: the kernel refuses by another error.
func noneRefused(t *testing.T, r app.Report) {
	t.Helper()
	for text, n := range r.Errors {
		if strings.HasPrefix(text, "dial") && !strings.HasSuffix(text, "reset by peer") {
			t.Errorf("%d connects failed: %s", n, text)
		}
	}
	if r.OK == 0 {
		t.Error("no call succeeded")
	}
}
