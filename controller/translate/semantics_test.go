package translate

import (
	"net/netip"
	"testing"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/reason"
)

const semanticsPod = `
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {nodeName: node-a, containers: [{name: c, image: x}]}
status: {phase: Running, podIPs: [{ip: 10.1.0.1}], conditions: [{type: Ready, status: "True"}]}
---
`

func policyYAML(namespace, spec string) string {
	return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: " + namespace + "}\nspec: " + spec + "\n---\n"
}

func peerYAML(namespace, spec string) string {
	return "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: " + namespace + "}\nspec: " + spec + "\n---\n"
}

// store gives the mesh's resources to a proxy's store, as the wire would.
func store(t testing.TB, m *Mesh) *mesh.Store {
	t.Helper()
	changes, err := m.Changes()
	if err != nil {
		t.Fatal(err)
	}
	u := mesh.Update{AddressesComplete: true, PoliciesComplete: true}
	for _, c := range changes {
		if c.Type == AddressType {
			if err := u.AddAddress(c.Name, c.Resource.Version, c.Resource.Body); err != nil {
				t.Fatal(err)
			}
			continue
		}
		u.AddPolicy(c.Name, c.Resource.Version, c.Resource.Body)
	}
	s := mesh.NewStore(mesh.Options{})
	for _, err := range s.Apply(u) {
		t.Fatalf("a proxy refuses what the controller sends: %v", err)
	}
	return s
}

// TestSemantics translates what users write, gives it to the proxy's own code and asks what happens to
// a peer of the shop, to a stranger and to plaintext, on port 80.
func TestSemantics(t *testing.T) {
	const (
		allowed = reason.None
		no      = reason.PolicyNoAllow
		deny    = reason.PolicyDeny
		mtls    = reason.MTLSRequired
		l7      = reason.PolicyNeedsL7
		bad     = reason.PolicyUnreadable
	)
	type R = reason.Reason
	for _, tt := range []struct {
		name             string
		yaml             string
		web, evil, plain R
	}{
		{"no policy", "", allowed, allowed, allowed},
		{"allow nothing", policyYAML("shop", `{}`), no, no, no},
		{"allow everything", policyYAML("shop", `{rules: [{}]}`), allowed, allowed, allowed},
		{"deny nothing", policyYAML("shop", `{action: DENY}`), allowed, allowed, allowed},
		{"deny everything", policyYAML("shop", `{action: DENY, rules: [{}]}`), deny, deny, deny},
		{"of another namespace", policyYAML("other", `{}`), allowed, allowed, allowed},
		{"of the root namespace", policyYAML("ambit-system", `{}`), no, no, no},
		{"root namespace, selected", policyYAML("ambit-system", `{selector: {matchLabels: {app: api}}}`), no, no, no},
		{"root namespace, not selected", policyYAML("ambit-system", `{selector: {matchLabels: {app: x}}}`), allowed, allowed, allowed},
		{"not selected", policyYAML("shop", `{selector: {matchLabels: {app: x}}}`), allowed, allowed, allowed},
		{"dry run", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop, annotations: {istio.io/dry-run: \"true\"}}\nspec: {action: DENY, rules: [{}]}\n---\n", allowed, allowed, allowed},

		{"allow principals", policyYAML("shop", `{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}`), allowed, no, no},
		{"allow any principal", policyYAML("shop", `{rules: [{from: [{source: {principals: ["*"]}}]}]}`), allowed, allowed, no},
		{"allow principals by suffix", policyYAML("shop", `{rules: [{from: [{source: {principals: ["*/ns/shop/sa/web"]}}]}]}`), allowed, no, no},
		{"allow notPrincipals", policyYAML("shop", `{rules: [{from: [{source: {notPrincipals: [cluster.local/ns/other/sa/evil]}}]}]}`), allowed, no, no},
		{"deny principals", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/other/sa/evil]}}]}]}`), allowed, deny, allowed},
		{"deny notPrincipals", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/web]}}]}]}`), allowed, deny, deny},
		{"deny no principal", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {notPrincipals: ["*"]}}]}]}`), allowed, allowed, mtls},
		{"allow namespaces", policyYAML("shop", `{rules: [{from: [{source: {namespaces: ["sh*"]}}]}]}`), allowed, no, no},
		{"allow notNamespaces", policyYAML("shop", `{rules: [{from: [{source: {notNamespaces: [other]}}]}]}`), allowed, no, no},
		{"deny namespaces", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {namespaces: [other]}}]}]}`), allowed, deny, allowed},
		{"deny notNamespaces", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {notNamespaces: [shop]}}]}]}`), allowed, deny, deny},
		{"allow serviceAccounts", policyYAML("shop", `{rules: [{from: [{source: {serviceAccounts: [web]}}]}]}`), allowed, no, no},
		{"allow serviceAccounts elsewhere", policyYAML("shop", `{rules: [{from: [{source: {serviceAccounts: [other/evil]}}]}]}`), no, allowed, no},
		{"deny notServiceAccounts", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {notServiceAccounts: [web]}}]}]}`), allowed, deny, deny},
		{"allow trustDomains", policyYAML("shop", `{rules: [{from: [{source: {trustDomains: [cluster.local], principals: ["*/sa/web"]}}]}]}`), allowed, no, no},
		{"allow other trustDomains", policyYAML("shop", `{rules: [{from: [{source: {trustDomains: [other.example], principals: ["*/sa/web"]}}]}]}`), no, no, no},
		{"allow notTrustDomains", policyYAML("shop", `{rules: [{from: [{source: {notTrustDomains: [other.example]}}]}]}`), allowed, allowed, no},
		{"allow ipBlocks", policyYAML("shop", `{rules: [{from: [{source: {ipBlocks: [10.0.0.0/24]}}]}]}`), allowed, no, no},
		{"allow notIpBlocks", policyYAML("shop", `{rules: [{from: [{source: {notIpBlocks: [10.0.0.0/24]}}]}]}`), no, allowed, allowed},
		{"deny ipBlocks", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {ipBlocks: [10.0.1.0/24]}}]}]}`), allowed, deny, deny},
		{"one of two sources", policyYAML("shop", `{rules: [{from: [{source: {namespaces: [x]}}, {source: {namespaces: [other]}}]}]}`), no, allowed, no},
		{"two fields of one source", policyYAML("shop", `{rules: [{from: [{source: {namespaces: [shop], ipBlocks: [10.0.1.0/24]}}]}]}`), no, no, no},

		{"allow the port", policyYAML("shop", `{rules: [{to: [{operation: {ports: ["80"]}}]}]}`), allowed, allowed, allowed},
		{"allow another port", policyYAML("shop", `{rules: [{to: [{operation: {ports: ["81"]}}]}]}`), no, no, no},
		{"allow notPorts", policyYAML("shop", `{rules: [{to: [{operation: {notPorts: ["80"]}}]}]}`), no, no, no},
		{"deny the port", policyYAML("shop", `{action: DENY, rules: [{to: [{operation: {ports: ["80"]}}]}]}`), deny, deny, deny},
		{"from and to", policyYAML("shop", `{rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ["80"]}}]}]}`), allowed, no, no},
		{"when", policyYAML("shop", `{rules: [{when: [{key: source.namespace, values: [shop]}, {key: destination.port, values: ["80"]}, {key: destination.ip, values: [10.1.0.1]}, {key: source.ip, notValues: [10.0.9.0/24]}]}]}`), allowed, no, no},
		{"when it is not", policyYAML("shop", `{rules: [{when: [{key: source.principal, notValues: ["*/sa/web"]}]}]}`), no, allowed, no},

		{"allow needs layer 7", policyYAML("shop", `{rules: [{to: [{operation: {methods: [GET, POST], paths: ["/api/*"]}}]}]}`), l7, l7, l7},
		{"one alternative needs layer 7", policyYAML("shop", `{rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ["80"]}}, {operation: {methods: [GET]}}]}]}`), l7, l7, l7},
		{"one rule needs layer 7", policyYAML("shop", `{rules: [{to: [{operation: {hosts: [x]}}]}, {from: [{source: {namespaces: [shop]}}]}]}`), allowed, l7, l7},
		{"deny needs layer 7 only", policyYAML("shop", `{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}`), deny, deny, deny},
		{"deny on its layer 4 rest", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {namespaces: [other]}}], to: [{operation: {methods: [POST]}}]}]}`), allowed, deny, allowed},
		{"deny on its other alternative", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {namespaces: [other]}}], to: [{operation: {ports: ["81"]}}]}]}`), allowed, allowed, allowed},
		{"deny request principals", policyYAML("shop", `{action: DENY, rules: [{from: [{source: {notRequestPrincipals: ["*"]}}]}]}`), deny, deny, deny},
		{"custom refuses what it matches", policyYAML("shop", `{action: CUSTOM, provider: {name: opa}, rules: [{from: [{source: {namespaces: [other]}}], to: [{operation: {paths: [/x]}}]}]}`), allowed, deny, allowed},
		{"audit", policyYAML("shop", `{action: AUDIT, rules: [{}]}`), allowed, allowed, allowed},
		{"for a waypoint", policyYAML("shop", `{targetRefs: [{kind: Service, name: api}]}`), allowed, allowed, allowed},

		{"bad allow", policyYAML("shop", `{rules: [{from: [{source: {namespaces: [shop], ipBlocks: [10.0.0.0/99]}}]}]}`), bad, bad, bad},
		{"bad deny", policyYAML("shop", `{action: DENY, rules: [{when: [{key: source.colour, values: [red]}]}]}`), bad, bad, bad},
		{"unreadable", policyYAML("shop", `{rulez: []}`), bad, bad, bad},
		{"bad, elsewhere", policyYAML("shop", `{selector: {matchLabels: {app: x}}, rules: [{when: [{}]}]}`), allowed, allowed, allowed},
		{"bad after good", policyYAML("shop", `{rules: [{from: [{source: {namespaces: [shop]}}]}]}`) + policyYAML("shop", `{rules: [{when: [{key: x}]}]}`), allowed, no, no},

		{"STRICT", peerYAML("shop", `{mtls: {mode: STRICT}}`), allowed, allowed, mtls},
		{"STRICT of the mesh", peerYAML("ambit-system", `{mtls: {mode: STRICT}}`), allowed, allowed, mtls},
		{"STRICT elsewhere", peerYAML("other", `{mtls: {mode: STRICT}}`), allowed, allowed, allowed},
		{"STRICT of the mesh, PERMISSIVE here", peerYAML("ambit-system", `{mtls: {mode: STRICT}}`) + peerYAML("shop", `{mtls: {mode: PERMISSIVE}}`), allowed, allowed, allowed},
		{"STRICT of the mesh, UNSET here", peerYAML("ambit-system", `{mtls: {mode: STRICT}}`) + peerYAML("shop", `{}`), allowed, allowed, mtls},
		{"STRICT but for the port", peerYAML("shop", `{selector: {matchLabels: {app: api}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: PERMISSIVE}}}`), allowed, allowed, allowed},
		{"STRICT but for another port", peerYAML("shop", `{selector: {matchLabels: {app: api}}, mtls: {mode: STRICT}, portLevelMtls: {81: {mode: PERMISSIVE}}}`), allowed, allowed, mtls},
		{"STRICT for the port", peerYAML("shop", `{selector: {matchLabels: {app: api}}, portLevelMtls: {80: {mode: STRICT}}}`), allowed, allowed, mtls},
		{"STRICT for another port", peerYAML("shop", `{selector: {matchLabels: {app: api}}, portLevelMtls: {81: {mode: STRICT}}}`), allowed, allowed, allowed},
		{"unreadable mode", peerYAML("shop", `{mtls: {mode: SOMETIMES}}`), allowed, allowed, mtls},
		{"STRICT and allow everything", peerYAML("shop", `{mtls: {mode: STRICT}}`) + policyYAML("shop", `{rules: [{}]}`), allowed, allowed, mtls},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := NewMesh(Options{})
			load(t, m, []byte(semanticsPod+tt.yaml))
			snapshot := store(t, m).Snapshot()
			pod := snapshot.Workload("Kubernetes//Pod/shop/api")
			judge := func(id identity.ID, ip string) reason.Reason {
				return snapshot.Judge(pod, &authz.Flow{Source: id, SourceIP: netip.MustParseAddr(ip),
					Dest: netip.MustParseAddrPort("10.1.0.1:80")}).Reason
			}
			got := [3]R{
				judge(identity.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}, "10.0.0.1"),
				judge(identity.ID{TrustDomain: "cluster.local", Namespace: "other", ServiceAccount: "evil"}, "10.0.1.1"),
				judge(identity.ID{}, "10.0.1.2"),
			}
			if want := [3]R{tt.web, tt.evil, tt.plain}; got != want {
				t.Errorf("web, evil, plaintext: %q, want %q", got, want)
			}
		})
	}
}
