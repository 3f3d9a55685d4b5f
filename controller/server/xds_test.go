package server

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/controller/xds"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/objects"
)

// sent counts the resources that a store was told about in Apply, by watching its changes.
func changes(m *machine) func() int {
	n := make(chan int, 1)
	n <- 0
	m.t.Cleanup(m.store.Subscribe(func(c mesh.Change) { n <- <-n + len(c.Workloads) + len(c.Services) + len(c.Policies) }))
	return func() int { v := <-n; n <- v; return v }
}

func TestReconnectBringsDifferencesAndRemovals(t *testing.T) {
	c := startController(t, nil)
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	c.put("b.yaml", podYAML("b", "n1", "10.0.0.2"))
	c.put("gone.yaml", podYAML("gone", "n1", "10.0.0.3"))
	c.run()
	m := c.join("n1").connect()
	until(t, "synced", func() bool { return m.store.Snapshot().Synced() && m.store.Snapshot().Workload(uidOf("gone")) != nil })
	m.stop()
	count := changes(m)
	version := func() string { return c.server.mesh.Resource(xds.AddressType, uidOf("b")).Version }
	before := version()
	c.drop("gone.yaml")
	c.put("b.yaml", podYAML("b", "n1", "10.0.0.22"))
	until(t, "the controller has noticed", func() bool {
		return c.server.cache.Len(xds.AddressType) == 2 && version() != before
	})
	m.connect()
	until(t, "the removal", func() bool { return m.store.Snapshot().Workload(uidOf("gone")) == nil && count() > 0 })
	if n := count(); n != 2 {
		t.Errorf("a reconnect brought %d resources, want the changed one and the removed one", n)
	}
}

func TestRestartedControllerIsNotBehind(t *testing.T) {
	c := startController(t, nil)
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	c.run()
	m := c.join("n1").connect()
	until(t, "synced", func() bool { return m.store.Snapshot().Synced() && m.store.Snapshot().Workload(uidOf("a")) != nil })
	c.stop()
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.9"))
	c.put("b.yaml", podYAML("b", "n1", "10.0.0.2"))
	c.run()
	until(t, "what changed while it was away", func() bool { return m.store.Snapshot().Workload(uidOf("b")) != nil })
	if len(m.store.Snapshot().Seen()) == 0 {
		t.Error("the proxy has seen no versions")
	}
}

func TestControllerThatIsBehindTakesNobodyBack(t *testing.T) {
	c := startController(t, nil)
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	c.run()
	m := c.join("n1").connect()
	until(t, "synced", func() bool { return m.store.Snapshot().Synced() && m.store.Snapshot().Workload(uidOf("a")) != nil })
	c.stop()
	c.drop("a.yaml")
	c.mutate = func(cfg *Config) { // as a replica that lags behind the first one
		cfg.Source = func(uint32) objects.Source {
			return objects.NewDirectory(filepath.Join(c.dir, "objects"), objects.Options{Epoch: 1})
		}
	}
	c.run()
	until(t, "held", func() bool {
		p := c.server.Status().Proxies
		return len(p) == 1 && p[0].Types[xds.AddressType].Held
	})
	if m.store.Snapshot().Workload(uidOf("a")) == nil {
		t.Error("a controller that is behind removed a pod")
	}
	c.stop()
	c.mutate = nil
	c.run()
	until(t, "the removal, from one that is not behind", func() bool { return m.store.Snapshot().Workload(uidOf("a")) == nil })
}

func TestCaptureIsConfirmedWhenAllKnow(t *testing.T) {
	c := startController(t, nil)
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	c.run()
	m1, m2 := c.join("n1").connect(), c.join("n2").connect()
	until(t, "both are connected", func() bool { return m1.store.Snapshot().Synced() && m2.store.Snapshot().Synced() })
	m1.client.SetCaptured([]string{uidOf("a")})
	until(t, "announced", func() bool { return m1.client.Announced(uidOf("a")) })
	if !m1.hbone(uidOf("a")) || !m2.hbone(uidOf("a")) {
		t.Error("confirmed before both knew")
	}
	m1.client.SetCaptured(nil)
	until(t, "plain", func() bool { return m1.isPlain(uidOf("a")) })
	if m1.hbone(uidOf("a")) || m2.hbone(uidOf("a")) {
		t.Error("confirmed as plain before both knew")
	}
}

func TestNodeCapturesItsOwnPodsOnly(t *testing.T) {
	c := startController(t, nil)
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	c.put("b.yaml", podYAML("b", "n2", "10.0.0.2"))
	c.run()
	thief, owner := c.join("n1").connect(), c.join("n2").connect()
	thief.client.SetCaptured([]string{uidOf("b"), uidOf("a")})
	until(t, "its own", func() bool { return thief.client.Announced(uidOf("a")) })
	if thief.hbone(uidOf("b")) || thief.client.Announced(uidOf("b")) {
		t.Error("a node captured another's pod")
	}
	owner.client.SetCaptured([]string{uidOf("b")})
	until(t, "the owner's", func() bool { return owner.client.Announced(uidOf("b")) && thief.hbone(uidOf("b")) })
}

func TestPodThatComesAfterItsClaimIsAnnounced(t *testing.T) {
	c := startController(t, nil).run()
	m := c.join("n1").connect()
	m.client.SetCaptured([]string{uidOf("late")})
	until(t, "synced", func() bool { return m.store.Snapshot().Synced() })
	c.put("late.yaml", podYAML("late", "n1", "10.0.0.5"))
	until(t, "announced", func() bool { return m.client.Announced(uidOf("late")) && m.hbone(uidOf("late")) })
}

// plainSeen reports whether the pod was ever plain in the machine's view since the call.
func plainSeen(m *machine, uid string) func() bool {
	seen := make(chan bool, 1)
	seen <- false
	m.t.Cleanup(m.store.Subscribe(func(ch mesh.Change) {
		w := ch.Snapshot.Workload(uid)
		seen <- <-seen || w == nil || w.Protocol != mesh.HBONE
	}))
	return func() bool { v := <-seen; seen <- v; return v }
}

func TestRestartsNeverMakeACapturedPodPlain(t *testing.T) {
	for name, lose := range map[string]bool{"with its claims": false, "without its claims": true} {
		t.Run(name, func(t *testing.T) {
			c := startController(t, func(cfg *Config) { cfg.Captures.StartGrace, cfg.Captures.OrphanGrace = time.Hour, time.Hour })
			c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
			c.run()
			m1, m2 := c.join("n1").connect(), c.join("n2").connect()
			m1.client.SetCaptured([]string{uidOf("a")})
			until(t, "announced", func() bool { return m1.client.Announced(uidOf("a")) && m2.hbone(uidOf("a")) })
			plain := plainSeen(m2, uidOf("a"))
			m1.stop() // the capturing proxy is gone while the controller restarts
			c.stop()
			if lose {
				if err := os.Remove(filepath.Join(c.dir, "state", "captured.json")); err != nil {
					t.Fatal(err)
				}
			}
			c.put("b.yaml", podYAML("b", "n2", "10.0.0.2"))
			c.run()
			until(t, "the other proxy is back", func() bool { return len(c.server.Status().Proxies) == 1 })
			m1.connect()
			m1.client.SetCaptured([]string{uidOf("a")})
			until(t, "claimed again", func() bool { return len(c.server.Status().Proxies) == 2 && c.server.caps.Captured() == 1 })
			if lose {
				c.pass(61 * time.Minute) // nobody is told of workloads before
			}
			until(t, "announced again", func() bool {
				return m1.client.Announced(uidOf("a")) && m2.store.Snapshot().Workload(uidOf("b")) != nil
			})
			if plain() {
				t.Error("the pod was announced as plain meanwhile")
			}
		})
	}
}

func TestProxyThatIsBackWithoutAPodGivesItUp(t *testing.T) {
	c := startController(t, nil)
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	c.run()
	m1, m2 := c.join("n1").connect(), c.join("n2").connect()
	until(t, "both are connected", func() bool { return m1.store.Snapshot().Synced() && m2.store.Snapshot().Synced() })
	m1.client.SetCaptured([]string{uidOf("a")})
	until(t, "announced", func() bool { return m1.client.Announced(uidOf("a")) })
	m1.stop()
	until(t, "gone", func() bool { return len(c.server.Status().Proxies) == 1 })
	time.Sleep(time.Second) // twice the grace: without a proxy of the node nothing changes
	if !m2.hbone(uidOf("a")) {
		t.Fatal("plain although no proxy of its node said so")
	}
	m1.connect() // and captures nothing
	until(t, "plain", func() bool { return !m2.hbone(uidOf("a")) })
}

func TestPodOfTheSameNameIsNotTakenForItsPredecessor(t *testing.T) {
	c := startController(t, nil)
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	c.run()
	m1, m2 := c.join("n1").connect(), c.join("n2").connect()
	until(t, "both are connected", func() bool { return m1.store.Snapshot().Synced() && m2.store.Snapshot().Synced() })
	m1.client.SetCaptured([]string{uidOf("a")})
	until(t, "announced", func() bool { return m1.client.Announced(uidOf("a")) && m2.hbone(uidOf("a")) })
	m1.stop()
	until(t, "gone", func() bool { return len(c.server.Status().Proxies) == 1 })
	c.drop("a.yaml")
	until(t, "removed", func() bool { return m2.store.Snapshot().Workload(uidOf("a")) == nil })
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	until(t, "back", func() bool { return m2.store.Snapshot().Workload(uidOf("a")) != nil })
	if m2.hbone(uidOf("a")) {
		t.Error("a new pod was announced as captured by nobody")
	}
}

func TestRetirementWaitsForAProxyThatWasJustLost(t *testing.T) {
	c := startController(t, func(cfg *Config) { cfg.Captures.StartGrace = time.Hour })
	c.put("a.yaml", podYAML("a", "n1", "10.0.0.1"))
	c.run()
	m1, m2 := c.join("n1").connect(), c.join("n2").connect()
	until(t, "both are connected", func() bool { return m1.store.Snapshot().Synced() && m2.store.Snapshot().Synced() })
	m1.client.SetCaptured([]string{uidOf("a")})
	until(t, "announced", func() bool { return m1.client.Announced(uidOf("a")) && m2.hbone(uidOf("a")) })
	c.pass(61 * time.Minute) // past the start
	m2.stop()
	until(t, "gone", func() bool { return len(c.server.Status().Proxies) == 1 })
	m1.client.SetCaptured(nil)
	until(t, "plain for the rest", func() bool { return !m1.hbone(uidOf("a")) })
	m2.connect()
	until(t, "confirmed", func() bool { return m1.isPlain(uidOf("a")) })
	if m2.hbone(uidOf("a")) {
		t.Error("confirmed while a proxy that is back believed the pod captured")
	}
}
