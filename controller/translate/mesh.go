package translate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	security "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ambitmesh/ambit/internal/objects"
)

// Mesh keeps objects indexed and translates what a change makes stale. Safe for concurrent use.
//
// Use it so: Set and Delete on every event of the informers, SetCaptured as proxies subscribe, then,
// after any number of these, Changes, and send what it returns. RunsOn and Runs answer the CA at once,
// without waiting for Changes.
type Mesh struct {
	mu   sync.Mutex
	opts Options

	pods      podIndex
	nodes     map[string]*corev1.Node
	services  serviceIndex
	endpoints endpointIndex
	policies  policyIndex
	peers     peerIndex
	rules     ruleIndex
	strangers strangers
	balancers balancers
	captured  map[string]set[string] // uid: nodes whose proxies serve the pod
	modes     map[string]string      // namespace: its label, if it has one

	stale  stale
	out    resources
	status map[Ref]Status
}

// stale is what has to be translated anew.
type stale struct {
	pods, services, policies, peers, rules, slices set[key]
}

// NewMesh returns an empty mesh. Its first Changes holds what every mesh has.
func NewMesh(o Options) *Mesh {
	return &Mesh{
		opts: o.filled(), pods: newPodIndex(), nodes: map[string]*corev1.Node{}, services: newServiceIndex(),
		endpoints: newEndpointIndex(), policies: newPolicyIndex(), peers: newPeerIndex(), rules: newRuleIndex(),
		captured: map[string]set[string]{}, strangers: strangers{}, balancers: newBalancers(), modes: map[string]string{},
		stale:  stale{set[key]{}, set[key]{}, set[key]{}, set[key]{}, set[key]{}, set[key]{}},
		out:    resources{current: map[resourceKey]*Resource{}},
		status: map[Ref]Status{},
	}
}

// Set adds or replaces an object. The mesh keeps it and never changes it. An object that cannot be
// understood is no error: its Status says so.
func (m *Mesh) Set(obj objects.Object) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key{obj.GetNamespace(), obj.GetName()}
	switch o := obj.(type) {
	case *corev1.Pod:
		m.setPod(k, o)
	case *corev1.Node:
		m.setNode(k.name, o)
	case *corev1.Service:
		m.setService(k, o)
	case *discoveryv1.EndpointSlice:
		m.setSlice(k, o)
	case *security.AuthorizationPolicy:
		m.setPolicy(k, o)
	case *security.PeerAuthentication:
		m.setPeer(k, o)
	case *networking.DestinationRule:
		m.setRule(k, o)
	case *corev1.Namespace, *corev1.ServiceAccount, *security.RequestAuthentication, *networking.ServiceEntry,
		*networking.WorkloadEntry:
		m.setOther(obj)
	default:
		return fmt.Errorf("set object %s: type %T is not translated", k, obj)
	}
	return nil
}

// Delete removes an object; one that is not there is no error.
func (m *Mesh) Delete(r Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key{r.Namespace, r.Name}
	switch r.Kind {
	case objects.Pod:
		m.setPod(k, nil)
	case objects.Node:
		m.setNode(k.name, nil)
	case objects.Service:
		m.setService(k, nil)
	case objects.EndpointSlice:
		m.setSlice(k, nil)
	case objects.AuthorizationPolicy:
		m.setPolicy(k, nil)
	case objects.PeerAuthentication:
		m.setPeer(k, nil)
	case objects.DestinationRule:
		m.setRule(k, nil)
	case objects.Namespace:
		delete(m.modes, r.Name)
		delete(m.status, r)
	default:
		delete(m.status, r)
	}
}

// Changes translates what is stale and returns what differs since the last call, in the order in which
// nothing is open for a moment: policies, then workloads and services, then the removal of policies.
// The error joins what could not be encoded; that is not among the changes.
func (m *Mesh) Changes() ([]Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := errors.Join(m.flushPolicies(), m.flushPeers(), m.flushServices(), m.flushPods(), m.flushSlices())
	m.flushRules()
	changes := m.out.changes
	m.out.changes = nil
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
	})
	return changes, err
}

func rank(c Change) int {
	switch {
	case c.Type != AuthorizationType:
		return 1
	case c.Resource != nil:
		return 0
	}
	return 2
}

// Resource returns a resource as of the last Changes, or nil.
func (m *Mesh) Resource(kind, name string) *Resource {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.current[resourceKey{kind, name}]
}

// Resources returns a type's resources as of the last Changes, by name. The caller owns the slice.
func (m *Mesh) Resources(kind string) []*Resource {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*Resource
	for k, r := range m.out.current {
		if k.kind == kind {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Resource) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Statuses returns what became of the objects as of the last Changes, in a fixed order: of every
// object but nodes and service accounts, and of namespaces that ask for something.
func (m *Mesh) Statuses() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Status, 0, len(m.status))
	for _, s := range m.status {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return compareRefs(a.Ref, b.Ref) })
	return out
}
