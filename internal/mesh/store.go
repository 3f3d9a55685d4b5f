package mesh

import (
	"errors"
	"io"
	"log/slog"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
)

// Options configure a Store. The zero value is usable.
type Options struct {
	Log          *slog.Logger // nil: discard
	Network      string       // only addresses of this network are looked up by IP
	MaxResources int          // workloads, services and policies together; 0: DefaultMaxResources
}

// DefaultMaxResources bounds what a controller can make a proxy hold.
const DefaultMaxResources = 1 << 20

// Update is one batch of changes; it becomes visible at once.
type Update struct {
	UpsertAddress  []*workload.Address
	AddressVersion []string // same order as UpsertAddress; may be empty
	UpsertPolicy   []*security.Authorization
	PolicyVersion  []string // same order as UpsertPolicy; may be empty

	// UnreadablePolicy maps "namespace/name" to why not even the message could be decoded.
	UnreadablePolicy map[string]string

	RemoveAddress []string // uids or service keys; more than one '/' is a workload
	RemovePolicy  []string // "namespace/name"

	AddressesComplete bool // with this update the first complete answer of the type is in
	PoliciesComplete  bool

	Seen map[string]string // type URL to the system version of this update, kept for a reconnect
}

// Store holds the current Snapshot and applies updates to it.
type Store struct{}

// NewStore returns an empty Store, which is not synced.
func NewStore(Options) *Store { return &Store{} }

// Snapshot returns the current state. It takes no lock and never returns nil.
func (s *Store) Snapshot() *Snapshot { return &Snapshot{} }

// Apply makes the update visible and returns one error per resource that was refused.
func (s *Store) Apply(Update) []error { return []error{errors.ErrUnsupported} }

// Changed returns a channel that is closed when a newer snapshot is published. Take the channel
// before the snapshot, else a change between the two is missed.
func (s *Store) Changed() <-chan struct{} { return nil }

// Subscribe calls f after each publish, in order, on the goroutine that called Apply, until cancel
// is called. f must not call Apply.
func (s *Store) Subscribe(f func(Change)) (cancel func()) { return func() {} }

// Save writes the accepted resources (no keys) for Load.
func (s *Store) Save(io.Writer) error { return errors.ErrUnsupported }

// Load reads what Save wrote. A file that is not whole changes nothing.
func (s *Store) Load(io.Reader) error { return errors.ErrUnsupported }

// Change says what a publish changed.
type Change struct {
	Snapshot  *Snapshot
	Workloads []string // uids added, changed or removed
	Policies  []string // "namespace/name" added, changed or removed
	Services  []string // keys
}
