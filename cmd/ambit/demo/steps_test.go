package demo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

func TestWalkGoesOnAfterAFailureAndCountsIt(t *testing.T) {
	ran := 0
	ok := step{"fine", func(context.Context) (string, error) { ran++; return "seen", nil }}
	bad := step{"broken", func(context.Context) (string, error) { ran++; return "", errors.New("nothing there") }}
	var out bytes.Buffer
	s := walk(t.Context(), &out, []step{ok, bad, ok})
	if ran != 3 || s.Steps != 3 || s.Failed != 1 || s.Failures[0] != "broken: nothing there" {
		t.Errorf("ran %d, summary %+v", ran, s)
	}
	if !strings.Contains(out.String(), "FAILED: nothing there") || !strings.Contains(out.String(), "seen") {
		t.Errorf("output:\n%s", out.String())
	}
}

func TestWalkEndsWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := walk(ctx, &bytes.Buffer{}, []step{{"never", func(context.Context) (string, error) { t.Error("ran"); return "", nil }}})
	if s.Failed != 1 {
		t.Errorf("summary %+v: an interrupted step must not count as held", s)
	}
}
