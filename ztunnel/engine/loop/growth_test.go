package loop

import "testing"

// TestGrowth: memory is tidied when there are more connections than ever since it was, not when there are others.
func TestGrowth(t *testing.T) {
	c := growth{more: make(chan struct{}, 1)}
	asked := func() bool {
		select {
		case <-c.more:
			return true
		default:
			return false
		}
	}
	for range 10 * growthStep {
		c.enter()
		c.leave()
	}
	for range growthStep - 1 {
		c.enter()
	}
	if asked() {
		t.Error("asked for others, or for few more")
	}
	if c.enter(); !asked() {
		t.Error("not asked for many more")
	}
	c.tidy()
	if c.enter(); asked() {
		t.Error("asked again at once")
	}
	for c.now.Load() > 0 {
		c.leave()
	}
	c.rest()
	for range growthStep {
		c.enter()
	}
	if !asked() {
		t.Error("not asked for the next crowd")
	}
}
