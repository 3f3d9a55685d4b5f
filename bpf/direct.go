package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
)

// MaxWays is to how many places one verdict may lead.
const MaxWays = 8

// Call is what a pod calls: the namespace by its cookie, and the address as the application names it.
type Call struct {
	Netns uint64
	To    netip.AddrPort // unmapped
}

// Way is where a call may lead: an address of an enrolled pod of this node, in its namespace.
type Way struct {
	Netns uint64
	To    netip.AddrPort // unmapped
}

// Account is who called what and where that led. Flows are counted by it.
type Account struct {
	Call
	Way Way
}

// Counts are an account's. A connection that failed is not among the opened ones. Bytes are of closed
// connections, as the caller sees them.
type Counts struct{ Opened, Closed, Failed, Sent, Received uint64 }

// DirectFlow is one live direct connection.
type DirectFlow struct {
	From, To netip.AddrPort
	Account  Account
	Socket   uint64        // the calling socket's cookie
	Opened   time.Duration // CLOCK_MONOTONIC
}

var directCounterNames = [...]string{"direct_flows", "direct_turned_back", "direct_lost", "direct_untold"}

// Gate is the descriptor of the array that the proxy writes {generation, lease} into. It stays the
// Mesh's.
func (m *Mesh) Gate() int { return m.obj.Gate.FD() }

// CloseDirect takes every verdict back; running connections live on.
func (m *Mesh) CloseDirect() error {
	err := m.obj.Gate.Put(uint32(0), meshGate{})
	return errors.Join(err, m.DropVerdicts(func(Call, []Way) bool { return true }))
}

// PutVerdict lets a call go direct while the gate has this generation. ways are 1 to MaxWays.
func (m *Mesh) PutVerdict(c Call, generation uint64, ways []Way) error {
	if len(ways) == 0 || len(ways) > MaxWays {
		return fmt.Errorf("put verdict: %d ways, want 1 to %d", len(ways), MaxWays)
	}
	v := meshDirectVerdict{Generation: generation, N: uint32(len(ways))}
	for i, w := range ways {
		v.Ways[i] = wayOf(w)
		err := m.obj.Accounts.Update(accountOf(Account{c, w}), meshAccount{}, ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return fmt.Errorf("make account: %w", err)
		}
	}
	if err := m.obj.Verdicts.Put(callOf(c), v); err != nil {
		return fmt.Errorf("put verdict on %s: %w", c.To, err)
	}
	return nil
}

// DropVerdict takes one back. A missing one is no error.
func (m *Mesh) DropVerdict(c Call) error { return gone(m.obj.Verdicts.Delete(callOf(c))) }

// DropVerdicts takes those back that match.
func (m *Mesh) DropVerdicts(match func(Call, []Way) bool) error {
	return deleteAll(m.obj.Verdicts, func(k meshCall, v meshDirectVerdict) bool {
		ways := make([]Way, 0, MaxWays)
		for _, w := range v.Ways[:min(v.N, MaxWays)] {
			ways = append(ways, Way{w.Netns, addrPort(w.Ip, w.Port)})
		}
		return match(Call{k.Netns, addrPort(k.Ip, k.Port)}, ways)
	})
}

// Accounts reads all.
func (m *Mesh) Accounts() (map[Account]Counts, error) {
	out := map[Account]Counts{}
	err := each(m.obj.Accounts, func(k meshAccountKey, v meshAccount) {
		out[k.account()] = Counts{v.Opened, v.Closed, v.Failed, v.Sent, v.Received}
	})
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	return out, nil
}

// DropAccount forgets an account with what it counted.
func (m *Mesh) DropAccount(a Account) error { return gone(m.obj.Accounts.Delete(accountOf(a))) }

// DirectFlows lists the live direct connections.
func (m *Mesh) DirectFlows() ([]DirectFlow, error) {
	var out []DirectFlow
	err := each(m.obj.DirectFlows, func(t meshTuple, f meshFlow) {
		out = append(out, DirectFlow{
			From: addrPort(t.Sip, uint32(t.Sport)), To: addrPort(t.Dip, uint32(t.Dport)), Account: f.Account.account(),
			Socket: f.Socket, Opened: time.Duration(f.Opened),
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read direct flows: %w", err)
	}
	return out, nil
}

// DropDirectFlows forgets the attested direct flows to an address and from it, so that its next owner inherits
// none: it may call from a port that its predecessor called from.
func (m *Mesh) DropDirectFlows(addr netip.Addr) error {
	ip := words(addr)
	return deleteAll(m.obj.DirectFlows, func(t meshTuple, _ meshFlow) bool { return t.Dip == ip || t.Sip == ip })
}

// DirectLive is how many live direct connections the pods have together.
func (m *Mesh) DirectLive() (n uint64, err error) {
	err = each(m.obj.Budgets, func(_ uint64, b meshBudget) { n += b.Live })
	if err != nil {
		return 0, fmt.Errorf("read budgets: %w", err)
	}
	return n, nil
}

// MakeBudget bounds the live direct connections of a calling pod, until DeletePod. One that is there stays.
func (m *Mesh) MakeBudget(cookie, limit uint64) error {
	err := m.obj.Budgets.Update(cookie, meshBudget{Limit: limit}, ebpf.UpdateNoExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("put budget of namespace %d: %w", cookie, err)
	}
	return nil
}

func wayOf(w Way) meshWay {
	return meshWay{Netns: w.Netns, Ip: words(w.To.Addr()), Port: uint32(w.To.Port())}
}

func callOf(c Call) meshCall {
	return meshCall{Netns: c.Netns, Ip: words(c.To.Addr()), Port: uint32(c.To.Port())}
}

func accountOf(a Account) meshAccountKey {
	return meshAccountKey{
		Netns: a.Netns, Called: words(a.To.Addr()), CalledPort: uint32(a.To.Port()), To: wayOf(a.Way),
	}
}

func (k meshAccountKey) account() Account {
	return Account{Call{k.Netns, addrPort(k.Called, k.CalledPort)}, Way{k.To.Netns, addrPort(k.To.Ip, k.To.Port)}}
}

func addrPort(ip [4]uint32, port uint32) netip.AddrPort {
	return netip.AddrPortFrom(address(ip), uint16(port))
}

const batchSize = 4096

// each reads a map by batches, bucket by bucket: it sees every entry that is there all the time, whatever
// else comes and goes.
func each[K, V any](m *ebpf.Map, f func(K, V)) error {
	keys, values := make([]K, batchSize), make([]V, batchSize)
	var at ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&at, keys, values, nil)
		for i := range n {
			f(keys[i], values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// deleteAll deletes what matches and is there all the time.
func deleteAll[K, V any](m *ebpf.Map, match func(K, V) bool) error {
	var dead []K
	errs := []error{each(m, func(k K, v V) {
		if match(k, v) {
			dead = append(dead, k)
		}
	})}
	for _, k := range dead {
		errs = append(errs, gone(m.Delete(k)))
	}
	return errors.Join(errs...)
}

// directCounters adds up the counters of direct flows.
func (m *Mesh) directCounters(out map[string]uint64) error {
	for i, name := range directCounterNames {
		var cpus []uint64
		if err := m.obj.DirectCounters.Lookup(uint32(i), &cpus); err != nil {
			return fmt.Errorf("read counter %s: %w", name, err)
		}
		for _, n := range cpus {
			out[name] += n
		}
	}
	return nil
}
