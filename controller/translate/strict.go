package translate

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/objects"
)

// staticStrict is the policy of the root namespace that the records of all pods in STRICT name. It
// and portPolicyName are Istio's; an object of the API server cannot have an underscore in its name.
const staticStrict = "istio_converted_static_strict"

func portPolicyName(name string) string { return "converted_peer_authentication_" + name }

func plaintext(m *security.Match) *security.Match {
	m.NotPrincipals = []*security.StringMatch{
		{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}},
	}
	return m
}

// refuse returns the rule that matches plaintext that is m as well.
func refuse(m *security.Match) *security.Rule {
	return &security.Rule{Clauses: []*security.Clause{{Matches: []*security.Match{plaintext(m)}}}}
}

func strictPolicy(namespace string) *security.Authorization {
	return peerPolicy(namespace, staticStrict, refuse(&security.Match{}))
}

func peerPolicy(namespace, name string, rules ...*security.Rule) *security.Authorization {
	a := &security.Authorization{Namespace: namespace, Name: name, Rules: rules,
		Scope: security.Scope_WORKLOAD_SELECTOR, Action: security.Action_DENY}
	// The note holds constant text: packing it cannot fail.
	cfg, _ := anypb.New(&ambit.PolicyNote{Kind: string(objects.PeerAuthentication)})
	a.Extensions = []*workload.Extension{{Name: authz.NoteExtension, Config: cfg}}
	return a
}

// exceptions returns the policy for pods whose ports are not all alike, or nil if they are.
func (p *peer) exceptions(inherited bool) *security.Authorization {
	base := p.mode.or(inherited)
	var others []uint32
	for _, port := range slices.Sorted(maps.Keys(p.ports)) {
		if p.ports[port].or(base) != base {
			others = append(others, port)
		}
	}
	if len(others) == 0 {
		return nil
	}
	m := &security.Match{DestinationPorts: others}
	if base {
		m = &security.Match{NotDestinationPorts: others}
	}
	return peerPolicy(p.key.namespace, portPolicyName(p.key.name), refuse(m))
}
