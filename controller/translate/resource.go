package translate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/mesh"
)

// The resource types that a Mesh yields.
const (
	AddressType       = mesh.AddressType
	AuthorizationType = mesh.AuthorizationType
)

// Resource is one message as it goes over the wire. Immutable and shared.
type Resource struct {
	Type    string // AddressType or AuthorizationType
	Name    string // "namespace/name", "namespace/hostname" or a workload's uid
	Version string // hash of the content: equal messages have equal versions
	Body    *anypb.Any
}

// Change is a resource that was added, changed or removed.
type Change struct {
	Type, Name string
	Resource   *Resource // nil: removed
}

type resourceKey struct{ kind, name string }

// resources holds what was last yielded, and what differs since.
type resources struct {
	current map[resourceKey]*Resource
	changes []Change
}

func (r *resources) put(kind, name string, m proto.Message) error {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", kind, name, err)
	}
	hash := sha256.Sum256(raw)
	version := hex.EncodeToString(hash[:12])
	k := resourceKey{kind, name}
	if old, ok := r.current[k]; ok && old.Version == version {
		return nil
	}
	res := &Resource{kind, name, version, &anypb.Any{TypeUrl: kind, Value: raw}}
	r.current[k] = res
	r.changes = append(r.changes, Change{kind, name, res})
	return nil
}

func (r *resources) remove(kind, name string) {
	k := resourceKey{kind, name}
	if _, ok := r.current[k]; ok {
		delete(r.current, k)
		r.changes = append(r.changes, Change{kind, name, nil})
	}
}
