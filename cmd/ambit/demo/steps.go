package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// step is one line of the walk: what is done, and a function that does it and says what it saw.
type step struct {
	title string
	run   func(context.Context) (saw string, err error)
}

// summary is the JSON line that ends a run with ONCE=1.
type summary struct {
	Steps    int      `json:"steps"`
	Failed   int      `json:"failed"`
	Failures []string `json:"failures,omitempty"`
	Seconds  float64  `json:"seconds"`
}

// stepLimit bounds one step, so that a broken machine ends in words and not in silence.
const stepLimit = 90 * time.Second

// walk runs the steps in order, a line each. A step that fails is reported and the walk goes on: later
// steps say more about what is wrong.
func walk(ctx context.Context, w io.Writer, steps []step) summary {
	s := summary{Steps: len(steps)}
	begin := time.Now()
	for i, st := range steps {
		if ctx.Err() != nil {
			s.fail(st.title, ctx.Err())
			continue
		}
		fmt.Fprintf(w, "%2d/%d  %s\n", i+1, len(steps), st.title)
		saw, err := runStep(ctx, st)
		if err != nil {
			s.fail(st.title, err)
			fmt.Fprintf(w, "       FAILED: %v\n", err)
			continue
		}
		fmt.Fprintf(w, "       %s\n", saw)
	}
	s.Seconds = time.Since(begin).Round(time.Millisecond).Seconds()
	return s
}

func runStep(ctx context.Context, st step) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	return st.run(ctx)
}

func (s *summary) fail(title string, err error) {
	s.Failed++
	s.Failures = append(s.Failures, fmt.Sprintf("%s: %v", title, err))
}

func (s *summary) print(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(s); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
