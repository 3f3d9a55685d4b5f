package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// TestForged has a controller say what no object makes the real one say: a proxy must fail closed whatever
// it hears.
func TestForged(t *testing.T) {
	s := newShop(t, lab.Options{})
	f := forge(t, s)
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"an unknown policy holds, then refuses", f.unknown},
		{"an unknown policy comes in time", f.comesInTime},
		{"an unknown policy and live connections", f.unknownLive},
		{"unparsable element", f.unparsable},
		{"broken ALLOW beside a good one", f.besideGood},
		{"undecodable", f.undecodable},
		{"an earlier good version stays", f.earlierStays},
		{"empty match", f.emptyMatch},
		{"half of the first answer", f.halfAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.judge(t, everybody)
			c.run(t)
			f.clear(t)
			f.judge(t, everybody)
		})
	}
	f.stop()
	must(t, s.StartController(ctx(t))) // nothing that was forged stays
	s.works(t)
}

func everybody(_, _ *lab.Pod) bool { return true }
func nobody(_, _ *lab.Pod) bool    { return false }

// onlyClient lets the captured client pass, not the plain one.
func (f *forger) onlyClient(from, _ *lab.Pod) bool { return from == f.client }

func (f *forger) servers() []*lab.Pod { return []*lab.Pod{f.near, f.far} }

// outcome is how a call ended.
type outcome struct {
	from, to *lab.Pod
	v6       bool
	err      error
	took     time.Duration // since all calls began
}

func (o *outcome) String() string {
	return fmt.Sprintf("from %s to %s, v6=%v, after %s: %v", o.from.FullName(), o.to.FullName(), o.v6, o.took.Round(time.Millisecond), o.err)
}

// call has both clients, captured and plain, call both servers by both families, all at once. wait returns
// how they ended.
func (f *forger) call(t *testing.T) (wait func() []outcome) {
	t.Helper()
	var all []outcome
	for _, from := range []*lab.Pod{f.client, f.plainClient} {
		for _, to := range f.servers() {
			all = append(all, outcome{from: from, to: to}, outcome{from: from, to: to, v6: true})
		}
	}
	begin, c := time.Now(), ctx(t)
	var calls sync.WaitGroup
	for i := range all {
		o, a := &all[i], program(t, all[i].from)
		calls.Go(func() {
			_, o.err = a.Ask(c, app.DialArgs{Address: o.to.At(o.v6, portBanner), Timeout: 20 * time.Second})
			o.took = time.Since(begin)
		})
	}
	return func() []outcome {
		calls.Wait()
		return all
	}
}

// judge makes all calls and checks who may pass.
func (f *forger) judge(t *testing.T, pass func(from, to *lab.Pod) bool) {
	t.Helper()
	check(t, f.call(t)(), pass)
}

func check(t *testing.T, all []outcome, pass func(from, to *lab.Pod) bool) {
	t.Helper()
	for _, o := range all {
		want := pass(o.from, o.to)
		if (o.err == nil) != want || o.err != nil && strings.Contains(o.err.Error(), "timeout") {
			t.Errorf("may pass: %v; %s", want, &o)
		}
	}
}

// unknownWait is how long connections wait for a policy that their workload names.
const unknownWait = 5 * time.Second

func (f *forger) unknown(t *testing.T) {
	f.name(t, f.servers(), "shop/later")
	f.settle(t)
	all := f.call(t)()
	check(t, all, nobody)
	for _, o := range all {
		if o.took < unknownWait {
			t.Errorf("not held for %s: %s", unknownWait, &o)
		}
	}
	for _, node := range []string{"node-a", "node-b"} {
		eventually(t, func() error { return f.logged(node, `"policy_unknown"`, `shop/later`, f.client.Identity()) })
		eventually(t, func() error { return f.counted(t, node) })
	}
}

func (f *forger) counted(t *testing.T, node string) error {
	n, err := f.metric(ctx(t), node, "ambit_refused_total", `reason="policy_unknown"`)
	if err == nil && n < 4 {
		err = fmt.Errorf("%v refusals are counted at %s, want 4 at least", n, node)
	}
	return err
}

// later is the policy of which the workloads have spoken already.
func (f *forger) later() *security.Authorization {
	return policyOf("later", security.Action_ALLOW, security.Scope_WORKLOAD_SELECTOR, is(f.client))
}

func (f *forger) comesInTime(t *testing.T) {
	const late = 1500 * time.Millisecond
	f.name(t, f.servers(), "shop/later")
	f.settle(t)
	wait := f.call(t)
	time.Sleep(late)
	f.policies(t, f.later())
	all := wait()
	check(t, all, f.onlyClient)
	for _, o := range all {
		if o.took < late {
			t.Errorf("not held until the policy came: %s", &o)
		}
	}
}

// unknownLive has live connections outlive a policy that comes in time, and end by one that does not.
func (f *forger) unknownLive(t *testing.T) {
	mine, theirs := hold(t, f.client, f.servers()...), hold(t, f.plainClient, f.servers()...)
	f.name(t, f.servers(), "shop/later")
	time.Sleep(1500 * time.Millisecond)
	pingAll(t, slices.Concat(mine, theirs))
	f.policies(t, f.later())
	for _, c := range theirs { // the policy allows them nothing
		mustEnd(t, c)
	}
	time.Sleep(unknownWait)
	pingAll(t, mine)

	begin := time.Now()
	f.name(t, f.servers(), "shop/later", "shop/never")
	time.Sleep(1500 * time.Millisecond)
	pingAll(t, mine)
	for _, c := range mine {
		mustEnd(t, c)
	}
	if took := time.Since(begin); took < unknownWait {
		t.Errorf("live connections were ended after %s, before the policy could come", took)
	}
}

// halfAnswer has a ztunnel that knows nothing hear of workloads or of policies only: it admits nothing.
func (f *forger) halfAnswer(t *testing.T) {
	for lost, heard := range map[string]string{xds.AddressType: xds.AuthorizationType, xds.AuthorizationType: xds.AddressType} {
		t.Run("without "+lost[strings.LastIndexByte(lost, '.')+1:], func(t *testing.T) {
			f.anew(t, lost)
			eventually(t, func() error { return f.answered(heard) })
			time.Sleep(time.Second) // what is to come has come
			check(t, f.brief(t), nobody)
			f.stop()
			f.lost = ""
			f.serve(t)
			f.works(t)
			f.settle(t)
		})
	}
}

// anew starts node-b's ztunnel without memory, under a controller whose responses of a type are lost.
func (f *forger) anew(t *testing.T, lost string) {
	t.Helper()
	n := f.Node("node-b")
	must(t, n.Ztunnel().Remove())
	if err := os.Remove(filepath.Join(n.RunDir(), "ztunnel-snapshot")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	f.stop()
	f.lost = lost
	f.serve(t)
	_, err := n.LaunchZtunnel(ctx(t))
	must(t, err)
}

// brief makes all calls to node-b.
func (f *forger) brief(t *testing.T) []outcome {
	t.Helper()
	return slices.DeleteFunc(f.call(t)(), func(o outcome) bool { return o.to != f.far })
}
