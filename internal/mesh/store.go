package mesh

import (
	"hash/maphash"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ambitmesh/ambit/internal/authz"
)

// Options configure a Store. The zero value is usable.
type Options struct {
	Log          *slog.Logger // nil: discard
	Network      string       // only addresses of this network are looked up by IP
	MaxResources int          // of each type; 0: DefaultMaxResources
	// Publishing is called before a snapshot becomes the current one, with its generation. Nil: nobody.
	Publishing func(generation uint64)
}

// DefaultMaxResources bounds what a controller can make a proxy hold.
const DefaultMaxResources = 1 << 20

// Change says what a publish changed.
type Change struct {
	Snapshot  *Snapshot
	Workloads []string // uids added, changed or removed
	Policies  []string // "namespace/name" added, changed or removed
	Services  []string // keys added, changed or removed
}

// Store holds the current Snapshot and applies updates to it. Safe for concurrent use.
type Store struct {
	opts    Options
	current atomic.Pointer[Snapshot]
	changed atomic.Pointer[chan struct{}]

	apply sync.Mutex // one writer at a time; held while subscribers run, so that they see the order
	order uint64     // of claims, under apply

	subs        sync.Mutex
	subscribers []*func(Change) // under subs; replaced, never changed
}

// NewStore returns an empty Store, which is not synced.
func NewStore(o Options) *Store {
	if o.MaxResources == 0 {
		o.MaxResources = DefaultMaxResources
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{opts: o}
	seed := maphash.MakeSeed() // of this store: names that collide cannot be chosen from outside
	str := hashString(seed)
	s.current.Store(&Snapshot{
		workloads:   newTrie[string, *workloadRecord](str),
		byAddr:      newTrie[netip.Addr, []*Workload](hashAddr(seed)),
		services:    newTrie[string, *serviceRecord](str),
		byVIP:       newTrie[netip.Prefix, []*Service](hashPrefix(seed)),
		byHostname:  newTrie[string, []*Service](str),
		members:     newTrie[string, *members](str),
		policies:    newTrie[string, *policyRecord](str),
		ofNamespace: newTrie[string, []*authz.Policy](str),
	})
	ch := make(chan struct{})
	s.changed.Store(&ch)
	return s
}

// Snapshot returns the current state. It takes no lock and never returns nil.
func (s *Store) Snapshot() *Snapshot { return s.current.Load() }

// Changed returns a channel that is closed when a newer snapshot is published. Take the channel
// before the snapshot, else a change between the two is missed.
func (s *Store) Changed() <-chan struct{} { return *s.changed.Load() }

// Apply makes the update visible at once and returns one error per resource that was refused; the
// others apply. Removals come first, so that a name both removed and sent is there afterwards.
func (s *Store) Apply(u Update) []error {
	s.apply.Lock()
	defer s.apply.Unlock()
	w := s.writer()
	policyErrs, addressErrs := w.run(u)
	errs := slices.Concat(policyErrs, addressErrs)
	for _, err := range errs {
		s.opts.Log.Warn("refused a resource", "error", err)
	}
	s.publish(w)
	return errs
}

func (s *Store) writer() *writer {
	return &writer{Snapshot: *s.current.Load(), batch: &batch{}, network: s.opts.Network, max: s.opts.MaxResources, order: s.order}
}

func (w *writer) run(u Update) (policyErrs, addressErrs []error) {
	for _, name := range u.RemoveAddress {
		w.removeAddress(name)
	}
	for _, key := range u.RemovePolicy {
		w.removePolicy(key)
	}
	w.addressesComplete = w.addressesComplete || u.AddressesComplete
	w.policiesComplete = w.policiesComplete || u.PoliciesComplete
	for i, p := range u.UpsertPolicy {
		policyErrs = note(policyErrs, w.policy(p, at(u.PolicyVersion, i)))
	}
	for _, key := range slices.Sorted(maps.Keys(u.UnreadablePolicy)) {
		policyErrs = note(policyErrs, w.unreadablePolicy(key, u.UnreadablePolicy[key]))
	}
	for i, a := range u.UpsertAddress {
		addressErrs = note(addressErrs, w.address(a, at(u.AddressVersion, i)))
	}
	w.see(u.Seen)
	return policyErrs, addressErrs
}

func note(errs []error, err error) []error {
	if err == nil {
		return errs
	}
	return append(errs, err)
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

func (w *writer) see(seen map[string]string) {
	if len(seen) == 0 {
		return
	}
	merged := maps.Clone(w.seen)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, seen)
	w.seen = merged
}

// publish makes w's snapshot the current one and tells who waits, if there is anything to tell.
func (s *Store) publish(w *writer) {
	old, next := s.current.Load(), new(Snapshot)
	*next = w.Snapshot
	s.order = w.order
	news := len(w.change.Workloads)+len(w.change.Policies)+len(w.change.Services) > 0 || next.Synced() != old.Synced()
	if news {
		next.generation++
		if s.opts.Publishing != nil {
			s.opts.Publishing(next.generation)
		}
	}
	s.current.Store(next)
	if !news {
		return
	}
	ch := make(chan struct{})
	close(*s.changed.Swap(&ch))
	w.change.Snapshot = next
	for _, f := range s.listeners() {
		(*f)(w.change)
	}
}

func (s *Store) listeners() []*func(Change) {
	s.subs.Lock()
	defer s.subs.Unlock()
	return s.subscribers
}

// Subscribe calls f after each publish, in order, on the goroutine that called Apply, until cancel
// is called (a call that is under way ends by itself). f must not call Apply.
func (s *Store) Subscribe(f func(Change)) (cancel func()) {
	s.subs.Lock()
	defer s.subs.Unlock()
	s.subscribers = append(slices.Clone(s.subscribers), &f)
	return func() {
		s.subs.Lock()
		defer s.subs.Unlock()
		s.subscribers = slices.DeleteFunc(slices.Clone(s.subscribers), func(p *func(Change)) bool { return p == &f })
	}
}
