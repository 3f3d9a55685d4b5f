// Package direct lets connections between two pods of this node go past the proxy, once it has allowed them
// by rules of layer 4 alone: it gives the agent verdicts, voids them all before the mesh changes, judges
// running connections again afterwards, and counts what the kernel carried.
//
// A verdict stands while the gate has its snapshot's generation and the lease has not lapsed. So a proxy that
// stops, hangs or has lost the agent lets nothing new past itself after some seconds.
package direct

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/decide"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

const (
	renewEvery = time.Second
	leaseTime  = 3 * time.Second
	readEvery  = 5 // renewals
	maxCalls   = 8192
	maxOfPod   = 512 // of these, so that no pod crowds others out
	maxOffers  = 256
	idleTime   = 10 * time.Minute // a call that nobody makes loses its verdict
)

// Judge is what decides; *decide.Decider is one.
type Judge interface {
	Direct(caller *engine.Pod, to netip.AddrPort) (decide.Ruling, bool)
	RejudgeDirect(caller, dest *engine.Pod, at netip.AddrPort) (reason.Reason, bool)
	Count(*decide.Ruling, *decide.Place, decide.Tally)
	Logs() bool
	Ended(*engine.Record)
}

// Config is what a Manager needs. All fields are required.
type Config struct {
	Judge      Judge
	Pod        func(uid string) *engine.Pod // that is served here, or nil
	PolicyWait time.Duration                // how long a policy that is not known may hold a connection
	Generation uint64                       // of the current snapshot
	Now        func() time.Time
	Log        *slog.Logger
}

// Manager is one proxy's part in direct connections. Its methods may be called from any goroutine.
type Manager struct {
	cfg    Config
	base   uint64 // added to generations: those of two processes never meet
	gate   gate
	offers chan offer
	wake   chan struct{}
	jobs   chan func()   // for Run to do
	done   chan struct{} // closed when Run ends

	mu   sync.Mutex
	next *link // offered by the agent, not yet in use
	off  bool  // nothing more is to be offered

	link *link // Run's from here on; nil: everything goes through the proxy
	book
}

type offer struct {
	caller *engine.Pod
	to     netip.AddrPort
}

// New returns a Manager. Its Publishing must be called before every snapshot but the one of
// Config.Generation.
func New(cfg Config) *Manager {
	m := &Manager{
		cfg: cfg, base: rand.Uint64() &^ (1<<32 - 1), offers: make(chan offer, maxOffers), wake: make(chan struct{}, 1),
		jobs: make(chan func()), done: make(chan struct{}),
		book: book{calls: map[callKey]*call{}, of: map[string]int{}, accounts: map[accountKey]*account{}},
	}
	m.gate.raise(m.base + cfg.Generation)
	return m
}

// Publishing voids all verdicts: a snapshot of this generation will be the current one. For mesh.Options.
func (m *Manager) Publishing(generation uint64) { m.gate.raise(m.base + generation) }

// Changed has everything judged again by the current snapshot. For mesh.Store.Subscribe.
func (m *Manager) Changed(mesh.Change) { m.poke() }

func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// HandedOver takes note of a connection that the proxy has let through. When there are too many they are
// noted another time.
func (m *Manager) HandedOver(caller *engine.Pod, to netip.AddrPort) {
	select {
	case m.offers <- offer{caller, to}:
	default:
	}
}

// Open takes over what the agent offers: the gate and the channel, in place of earlier ones.
func (m *Manager) Open(gate, channel int) error {
	f := os.NewFile(uintptr(gate), "gate")
	defer f.Close()
	l, err := newLink(channel)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return errors.Join(errors.New("this proxy drains"), l.conn.Close())
	}
	if err := m.gate.open(int(f.Fd())); err != nil {
		return errors.Join(err, l.conn.Close())
	}
	if m.next != nil {
		m.next.conn.Close() // it was never used
	}
	m.next = l
	m.poke()
	return nil
}

// Stop has everything go through the proxy, or its successor, from now on. Running connections live on.
func (m *Manager) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = true
	m.poke()
}

// Run does the work until ctx ends. It is to be called once.
func (m *Manager) Run(ctx context.Context) {
	defer close(m.done)
	defer m.cut(nil)
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for round := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			m.turn()
		case f := <-m.jobs:
			f()
		case o := <-m.offers:
			m.try(m.offered(o))
		case <-tick.C:
			round++
			m.try(m.keep(round%readEvery == 0))
		}
	}
}

// turn takes over a new link, and judges everything.
func (m *Manager) turn() {
	m.mu.Lock()
	next, off := m.next, m.off
	m.next = nil
	m.mu.Unlock()
	if off {
		m.cut(errors.New("this proxy drains"))
		return
	}
	if next != nil {
		if m.link != nil {
			m.link.conn.Close()
		}
		m.link = next
		m.try(m.begin())
		return
	}
	m.try(m.judge())
}

// keep renews the lease, tells of what has ended, and now and then counts.
func (m *Manager) keep(count bool) error {
	if m.link == nil {
		return nil
	}
	if err := m.lease(); err != nil {
		return err
	}
	if err := m.refresh(); err != nil {
		return err
	}
	if m.cfg.Judge.Logs() {
		if err := m.tell(); err != nil {
			return err
		}
	}
	if count {
		return m.count()
	}
	return nil
}

func (m *Manager) lease() error {
	if err := m.link.renew(); err != nil {
		return err
	}
	return m.gate.renew(leaseTime)
}

// try gives the link up after an error: the agent takes all verdicts back then, and offers anew. What the agent
// could not do is tried again with the next renewal: verdicts of an earlier generation are void all the same.
func (m *Manager) try(err error) {
	switch {
	case errors.Is(err, errAgent):
		m.cfg.Log.Warn("direct connections", "error", err)
	case err != nil:
		m.cut(err)
	}
}

func (m *Manager) cut(why error) {
	if m.link == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil { // else the gate is the next one's
		if err := m.gate.close(true); err != nil {
			m.cfg.Log.Warn("direct connections", "error", err)
		}
	}
	m.link.conn.Close()
	m.link = nil
	if why != nil {
		m.cfg.Log.Info("everything goes through the proxy", "because", why)
	}
}
