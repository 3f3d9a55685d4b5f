package xds

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// clock is a time that a test moves, or lets run.
type clock struct {
	mu    sync.Mutex
	t     time.Time
	since time.Time // when it began to run
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		return c.t
	}
	return c.t.Add(time.Since(c.since))
}

func (c *clock) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// capturing is Captures with an owner: pods run where runs says, and each resolve is applied at once.
type capturing struct {
	*Captures
	clock *clock
	runs  map[string]string
	seq   uint64
	says  map[string]bool // what the cache says

	marked map[string]bool
}

func newCapturing(runs map[string]string) *capturing {
	clk := &clock{t: time.Unix(1_000_000, 0)}
	c := &capturing{Captures: NewCaptures(CaptureOptions{Now: clk.now}), clock: clk, runs: runs, says: map[string]bool{}, marked: map[string]bool{}}
	c.Restore(nil)
	clk.pass(time.Minute) // past the start
	return c
}

func (c *capturing) settle() {
	for _, uid := range c.Stale() {
		c.resolve(uid)
	}
}

func (c *capturing) resolve(uid string) {
	captured := c.Resolve(uid, c.runs[uid], c.marked[uid])
	if captured != c.says[uid] {
		c.seq++
		c.says[uid] = captured
	}
	c.Applied(uid, captured, c.seq)
}

func (c *capturing) expect(t *testing.T, p *proxy, captured, plain []string) {
	t.Helper()
	if got, gone := c.confirmed(p); !slices.Equal(got, captured) || !slices.Equal(gone, plain) {
		t.Errorf("confirmed %v captured and %v plain, want %v and %v", got, gone, captured, plain)
	}
}

func TestConfirmationWaitsForEveryProxy(t *testing.T) {
	c := newCapturing(map[string]string{"a": "n1"})
	p1, p2 := c.connect("n1"), c.connect("n2")
	c.want(p1, []string{"a"}, nil)
	c.settle()
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, nil, nil)
	c.acknowledged(p2, c.seq)
	c.expect(t, p1, []string{"a"}, nil)
	c.expect(t, p2, nil, nil)

	c.want(p1, nil, []string{"a"})
	c.settle()
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, nil, nil)
	c.acknowledged(p2, c.seq)
	c.expect(t, p1, nil, []string{"a"})
	if len(c.pods) != 0 || len(c.waiting) != 0 {
		t.Errorf("%d pods, %d waiting are held for nobody", len(c.pods), len(c.waiting))
	}
}

func TestProxyThatDoesNotAcknowledgeCountsNoLonger(t *testing.T) {
	c := newCapturing(map[string]string{"a": "n1", "b": "n1"})
	p1, dead := c.connect("n1"), c.connect("n2")
	c.want(p1, []string{"a"}, nil)
	c.settle()
	c.acknowledged(p1, c.seq)
	c.clock.pass(59 * time.Second)
	c.tick()
	c.expect(t, p1, nil, nil)
	c.clock.pass(2 * time.Second)
	c.tick()
	c.expect(t, p1, []string{"a"}, nil)

	c.want(p1, []string{"b"}, nil) // now nobody waits for it
	c.settle()
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, []string{"b"}, nil)

	c.acknowledged(dead, c.seq) // it counts again
	c.want(p1, nil, []string{"b"})
	c.settle()
	c.acknowledged(p1, c.seq)
	c.tick()
	c.expect(t, p1, nil, nil)
}

func TestProxyThatComesAndGoesDoesNotBlockForEver(t *testing.T) {
	c := newCapturing(map[string]string{"a": "n1"})
	p1, flapping := c.connect("n1"), c.connect("n2")
	c.want(p1, []string{"a"}, nil)
	c.settle()
	c.acknowledged(p1, c.seq)
	for range 5 {
		c.clock.pass(30 * time.Second)
		c.disconnect(flapping)
		flapping = c.connect("n2")
		c.tick()
	}
	c.expect(t, p1, []string{"a"}, nil)
}

func TestLostProxyCountsForRetirementsUntilItIsBackOrLongGone(t *testing.T) {
	c := newCapturing(map[string]string{"a": "n1"})
	p1, p2 := c.connect("n1"), c.connect("n2")
	c.want(p1, []string{"a"}, nil)
	c.settle()
	c.acknowledged(p1, c.seq)
	c.acknowledged(p2, c.seq)
	c.expect(t, p1, []string{"a"}, nil)
	c.disconnect(p2)
	c.want(p1, nil, []string{"a"})
	c.settle()
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, nil, nil)
	c.clock.pass(21 * time.Second)
	c.tick()
	c.expect(t, p1, nil, []string{"a"})
}

func TestRestoredClaims(t *testing.T) {
	c := newCapturing(map[string]string{"a": "n1", "moved": "n2"})
	c.Restore(map[string][]string{"n1": {"a", "moved", "deleted"}})
	c.settle()
	if !c.says["a"] || c.says["moved"] || c.says["deleted"] {
		t.Errorf("announced %v, want only what still runs on its node", c.says)
	}
	if got := c.Claims(); len(got) != 1 || !slices.Equal(got["n1"], []string{"a"}) {
		t.Errorf("claims %v", got)
	}
	c.clock.pass(time.Hour) // nothing is given up while no proxy of the node is there
	c.tick()
	c.settle()
	if !c.says["a"] {
		t.Error("given up without a word from its node")
	}
	c.connect("n1")
	c.clock.pass(30 * time.Second)
	c.tick()
	c.settle()
	if !c.says["a"] {
		t.Error("given up before the node's proxy had time to repeat its claim")
	}
	c.clock.pass(31 * time.Second)
	c.tick()
	c.settle()
	if c.says["a"] {
		t.Error("announced although the node's proxy does not claim it")
	}
}

func TestPredecessorEndsBeforeItsSuccessorClaims(t *testing.T) {
	c := newCapturing(map[string]string{"a": "n1"})
	old := c.connect("n1")
	c.want(old, []string{"a"}, nil)
	c.settle()
	c.clock.pass(time.Hour)
	next := c.connect("n1")
	c.disconnect(old)
	c.clock.pass(time.Second)
	c.tick()
	c.settle()
	if !c.says["a"] {
		t.Fatal("plain between two proxies of one node")
	}
	c.want(next, []string{"a"}, nil)
	c.settle()
	c.clock.pass(time.Hour)
	c.tick()
	c.settle()
	if !c.says["a"] {
		t.Error("the successor's claim was lost")
	}
}

func TestPodThatMovedIsPlainForItsOldNode(t *testing.T) {
	c := newCapturing(map[string]string{"a": "n1"})
	p1, p2 := c.connect("n1"), c.connect("n2")
	ack := func() { c.acknowledged(p1, c.seq); c.acknowledged(p2, c.seq) }
	c.want(p1, []string{"a"}, nil)
	c.settle()
	ack()
	c.expect(t, p1, []string{"a"}, nil)
	c.runs["a"] = "n2"
	c.resolve("a")
	c.want(p2, []string{"a"}, nil)
	c.want(p1, nil, []string{"a"})
	c.settle()
	ack()
	c.expect(t, p1, nil, []string{"a"})
	c.expect(t, p2, []string{"a"}, nil)
}

func TestRetirementIsTakenBack(t *testing.T) {
	c := newCapturing(map[string]string{"a": "n1"})
	p1 := c.connect("n1")
	c.want(p1, []string{"a"}, nil)
	c.settle()
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, []string{"a"}, nil)
	c.want(p1, nil, []string{"a"})
	c.want(p1, []string{"a"}, nil)
	c.settle()
	c.expect(t, p1, []string{"a"}, nil)
}

func TestNothingIsRetiredBeforeOtherProxiesHadTimeToComeBack(t *testing.T) {
	clk := &clock{t: time.Unix(1_000_000, 0)}
	c := &capturing{Captures: NewCaptures(CaptureOptions{Now: clk.now}), clock: clk, runs: map[string]string{"a": "n1"}, says: map[string]bool{}}
	p1 := c.connect("n1")
	c.want(p1, nil, []string{"a"})
	c.settle()
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, nil, nil)
	clk.pass(21 * time.Second)
	c.tick()
	c.expect(t, p1, nil, []string{"a"})
}

func TestFirstControllerWaitsForNobody(t *testing.T) {
	clk := &clock{t: time.Unix(1_000_000, 0)}
	c := &capturing{Captures: NewCaptures(CaptureOptions{Now: clk.now}), clock: clk, runs: map[string]string{"a": "n1"}, says: map[string]bool{}}
	c.Begin()
	p1 := c.connect("n1")
	c.want(p1, nil, []string{"a"})
	c.settle()
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, nil, []string{"a"})
}

func TestOrphanThatIsNotWantedIsPlain(t *testing.T) {
	c := newCapturing(map[string]string{"in": "n1", "out": "n1"})
	c.opts.Wanted = func(uid string) bool { return uid == "in" }
	p := c.connect("n1")
	c.want(p, []string{"in", "out"}, nil)
	c.settle()
	c.clock.pass(time.Hour)
	c.tick()
	c.settle()
	if !c.says["out"] {
		t.Error("a pod is plain although its proxy says that it captures it")
	}
	c.disconnect(p)
	c.clock.pass(14 * time.Second)
	c.tick()
	c.settle()
	if !c.says["out"] {
		t.Error("a pod is plain before its agent lets go of it")
	}
	c.clock.pass(2 * time.Second)
	c.tick()
	c.settle()
	if c.says["out"] || !c.says["in"] {
		t.Errorf("with the proxy away the mesh says %v, want only the wanted pod", c.says)
	}
}

// Another controller hears of node n2: this one knows by the mark on the pod only.
func TestAMarkedPodIsCapturedUntilTheMarkGoes(t *testing.T) {
	c := newCapturing(map[string]string{"far": "n2", "near": "n1"})
	c.opts.RetireLag = 2 * time.Second
	p1 := c.connect("n1")
	c.marked["far"], c.marked["near"] = true, true
	c.resolve("far")
	if !c.says["far"] || c.Captured() != 1 {
		t.Errorf("by its mark: %v, %d captured", c.says["far"], c.Captured())
	}
	c.want(p1, []string{"near"}, nil)
	c.settle()
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, []string{"near"}, nil)

	c.want(p1, nil, []string{"near"})
	c.settle()
	c.acknowledged(p1, c.seq)
	c.clock.pass(time.Minute)
	c.tick()
	c.expect(t, p1, nil, nil) // the other controller still says that it is captured
	delete(c.marked, "near")
	c.resolve("near")
	c.acknowledged(p1, c.seq)
	c.expect(t, p1, nil, nil)
	c.clock.pass(time.Second)
	c.tick()
	c.expect(t, p1, nil, nil) // the other controller's proxies may not know yet
	c.clock.pass(time.Second)
	c.tick()
	c.expect(t, p1, nil, []string{"near"})

	delete(c.marked, "far")
	c.resolve("far")
	if c.says["far"] || len(c.pods) != 0 || len(c.waiting) != 0 {
		t.Errorf("%v, %d pods and %d waiting are held for nobody", c.says["far"], len(c.pods), len(c.waiting))
	}
	c.marked["nowhere"] = true
	if c.resolve("nowhere"); c.says["nowhere"] || len(c.pods) != 0 {
		t.Error("a mark on a pod of no node counts")
	}
}
