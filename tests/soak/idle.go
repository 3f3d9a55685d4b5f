package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

// held is a group of idle connections.
type held struct {
	app *lab.App
	id  int
}

const idleEach = 100

// idleAnew asks the idle connections whether they still live, and replaces them.
func (s *soak) idleAnew(ctx context.Context) error {
	err := s.idleEnd(ctx)
	a, appErr := s.client.App()
	if appErr != nil {
		return errors.Join(err, appErr)
	}
	for _, to := range []string{s.far.At(false, portBanner), s.near.At(true, portBanner)} {
		g, manyErr := a.Many(ctx, app.ManyArgs{Dial: app.DialArgs{Address: to, Timeout: callLimit}, N: idleEach, Banner: true, Hold: true})
		if manyErr != nil {
			return errors.Join(err, manyErr)
		}
		s.churn.idle = append(s.churn.idle, held{a, g.ID})
		if g.Report.Failed > 0 {
			err = errors.Join(err, fmt.Errorf("%d connections to %s failed: %v", g.Report.Failed, to, g.Report.Errors))
		}
	}
	return err
}

// idleEnd asks the idle connections whether they still live, and closes them.
func (s *soak) idleEnd(ctx context.Context) error {
	var errs []error
	for _, h := range s.churn.idle {
		r, err := h.app.GroupPing(ctx, h.id)
		errs = append(errs, err, h.app.GroupClose(ctx, h.id))
		if r.Failed > 0 {
			errs = append(errs, fmt.Errorf("%d idle connections broke: %v", r.Failed, r.Errors))
		}
	}
	s.churn.idle = nil
	return errors.Join(errs...)
}
