package mesh

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// The xDS resource types.
const (
	AddressType       = "type.googleapis.com/istio.workload.Address"
	AuthorizationType = "type.googleapis.com/istio.security.Authorization"
)

// A saved snapshot is
//
//	magic | head of addresses | its resources | head of policies | its resources | SHA-256 of all before
//
// where a head is a DeltaDiscoveryResponse (type, system version, number of resources as its nonce),
// a resource is a discovery Resource as it came, and each is preceded by its length (varint). Keeping
// the wire form keeps fields that a newer proxy will understand, under the version they came with.
const (
	magic       = "ambit snapshot 1\n"
	maxSaved    = 1 << 30 // bytes
	maxResource = 4 << 20 // bytes
)

// Errors of Save and Load.
var (
	ErrNotSynced = errors.New("the snapshot is not complete")
	ErrCorrupt   = errors.New("not a whole snapshot")
)

// Save writes the accepted resources (there are no keys among them) for Load. A snapshot that is not
// synced is not worth keeping: ErrNotSynced.
func (s *Store) Save(out io.Writer) error {
	snap := s.Snapshot()
	if !snap.Synced() {
		return fmt.Errorf("save snapshot: %w", ErrNotSynced)
	}
	sum := sha256.New()
	w := bufio.NewWriter(out)
	both := io.MultiWriter(w, sum)
	if _, err := io.WriteString(both, magic); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	if err := snap.saveType(both, AddressType, snap.savedAddresses()); err != nil {
		return fmt.Errorf("save addresses: %w", err)
	}
	if err := snap.saveType(both, AuthorizationType, snap.savedPolicies()); err != nil {
		return fmt.Errorf("save policies: %w", err)
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return nil
}

type saved struct {
	name string
	resource
}

func (s *Snapshot) saveType(w io.Writer, typeURL string, list []saved) error {
	head := &discovery.DeltaDiscoveryResponse{TypeUrl: typeURL, SystemVersionInfo: s.seen[typeURL], Nonce: strconv.Itoa(len(list))}
	if _, err := protodelim.MarshalTo(w, head); err != nil {
		return err
	}
	for _, r := range list {
		msg := &discovery.Resource{Name: r.name, Version: r.version}
		if r.raw != nil {
			msg.Resource = &anypb.Any{TypeUrl: typeURL, Value: r.raw}
		}
		if _, err := protodelim.MarshalTo(w, msg); err != nil {
			return fmt.Errorf("%q: %w", r.name, err)
		}
	}
	return nil
}

// savedAddresses lists workloads in the order of their claims, so that the same one has a shared
// address after Load.
func (s *Snapshot) savedAddresses() []saved {
	records := slices.SortedFunc(s.workloads.values(), func(a, b *workloadRecord) int { return cmp.Compare(a.order, b.order) })
	list := make([]saved, 0, len(records)+s.services.size)
	for _, r := range records {
		list = append(list, saved{r.UID, r.resource})
	}
	for r := range s.services.values() {
		list = append(list, saved{r.Key, r.resource})
	}
	return list
}

func (s *Snapshot) savedPolicies() (list []saved) {
	for r := range s.policies.values() {
		list = append(list, saved{r.Key(), r.resource})
	}
	return list
}

// Load reads what Save wrote and applies it as a complete update, so the store is synced afterwards.
// A file that is not whole, or holds an address that this version refuses, changes nothing. Policies
// that this version cannot understand stand, as they do when they come over the wire.
func (s *Store) Load(in io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(in, maxSaved+1))
	if err != nil {
		return fmt.Errorf("load snapshot: %w", err)
	}
	u, err := parseSaved(b)
	if err != nil {
		return fmt.Errorf("load snapshot: %w", err)
	}
	s.apply.Lock()
	defer s.apply.Unlock()
	w := s.writer()
	policyErrs, addressErrs := w.run(u)
	if len(addressErrs) > 0 {
		return fmt.Errorf("load snapshot: %w", errors.Join(addressErrs...))
	}
	for _, err := range policyErrs {
		s.opts.Log.Warn("a saved policy is not understood and stands", "error", err)
	}
	s.publish(w)
	return nil
}
