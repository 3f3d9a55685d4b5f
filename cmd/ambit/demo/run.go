package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// Options of a run.
type Options struct {
	Bin  string // directory of the binaries
	Name string // of the lab; "" is unique
	Once bool   // end after the walk
	Out  io.Writer
}

// ErrNotHeld is returned when a step did not hold; the walk has said which and why.
var ErrNotHeld = errors.New("not every step held")

// Run builds the mesh, walks through it, and unless o.Once stays up until ctx ends. It leaves nothing
// behind. The last line of a run with o.Once is the summary as JSON.
func Run(ctx context.Context, o Options) error {
	if err := lab.Unusable(); err != nil {
		return err
	}
	l, err := lab.New(ctx, lab.Options{Bin: o.Bin, Name: o.Name, Progress: func(s string) { fmt.Fprintln(o.Out, "...", s) }})
	if err != nil {
		return err
	}
	sum, err := stay(ctx, l, o)
	err = errors.Join(err, l.Close())
	if left := lab.Leftovers(l.Name()); len(left) > 0 {
		sum.fail("leave nothing behind", errors.New(strings.Join(left, ", ")))
	}
	if err != nil {
		return err
	}
	if o.Once {
		if err := sum.print(o.Out); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(o.Out, "\nEverything is removed.")
	}
	if sum.Failed > 0 {
		return fmt.Errorf("%w: %s", ErrNotHeld, strings.Join(sum.Failures, "; "))
	}
	return nil
}

// stay walks, and then waits for the user's end.
func stay(ctx context.Context, l *lab.Lab, o Options) (summary, error) {
	fmt.Fprintln(o.Out, "... starting the shop: web -> orders -> payments, and a visitor outside the mesh")
	s, err := build(ctx, l)
	if err != nil {
		return summary{}, fmt.Errorf("build the shop: %w", err)
	}
	fmt.Fprintln(o.Out)
	sum := walk(ctx, o.Out, s.steps())
	if o.Once {
		return sum, nil
	}
	if err := s.keepBusy(ctx); err != nil && ctx.Err() == nil {
		return sum, err
	}
	s.invite(o.Out)
	<-ctx.Done()
	return sum, nil
}

func (s *shop) steps() []step {
	return []step{
		{"Without the mesh, web calls orders on the other node", s.plaintext},
		{"Label the namespace: istio.io/dataplane-mode=ambient", s.label},
		{"The connection that was running", s.alive},
		{"The same call, inside the mesh", s.encrypted},
		{"AuthorizationPolicy: only orders may call payments", s.allow},
		{"PeerAuthentication STRICT: nobody without an identity", s.strict},
		{"DestinationRule: one of two payments pods breaks", s.eject},
		{"Kill the ztunnel of web's node under load, start it again", s.kill},
		{"Take the label off, and put it on again", s.unlabel},
		{"Metrics: traffic per service", s.table},
		{"What it costs", s.cost},
	}
}

// keepBusy makes a little traffic for the user to look at. It ends with the lab.
func (s *shop) keepBusy(ctx context.Context) error {
	for _, c := range []struct {
		from    *lab.Pod
		service *lab.Service
	}{{s.web, s.ordersService}, {s.orders, s.paymentsService}} {
		a, err := c.from.App()
		if err != nil {
			return err
		}
		for _, held := range []bool{true, false} {
			if _, err := a.Loop(ctx, app.LoopArgs{Dial: app.DialArgs{Address: c.service.At(false, port), Timeout: dialLimit},
				Banner: true, Held: held, Redial: true, Interval: 200 * time.Millisecond}); err != nil {
				return err
			}
		}
	}
	return nil
}
