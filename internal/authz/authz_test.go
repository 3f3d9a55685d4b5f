package authz

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/reason"
)

var (
	web  = identity.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	evil = identity.ID{TrustDomain: "cluster.local", Namespace: "other", ServiceAccount: "evil"}
)

func flow(id identity.ID) *Flow {
	return &Flow{Source: id, SourceIP: netip.MustParseAddr("10.0.0.1"), Dest: netip.MustParseAddrPort("10.0.1.1:8080")}
}

func isExact(s string) *security.StringMatch {
	return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: s}}
}

func hasPrefix(s string) *security.StringMatch {
	return &security.StringMatch{MatchType: &security.StringMatch_Prefix{Prefix: s}}
}

func hasSuffix(s string) *security.StringMatch {
	return &security.StringMatch{MatchType: &security.StringMatch_Suffix{Suffix: s}}
}

func isPresent() *security.StringMatch {
	return &security.StringMatch{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}
}

func strs(s ...*security.StringMatch) []*security.StringMatch { return s }

func cidr(s string) []*security.Address {
	p := netip.MustParsePrefix(s)
	return []*security.Address{{Address: p.Addr().AsSlice(), Length: uint32(p.Bits())}}
}

func sa(ns, name string) []*security.ServiceAccountMatch {
	return []*security.ServiceAccountMatch{{Namespace: ns, ServiceAccount: name}}
}

func authorization(name string, a security.Action, matches ...*security.Match) *security.Authorization {
	out := &security.Authorization{Name: name, Namespace: "shop", Scope: security.Scope_NAMESPACE, Action: a}
	for _, m := range matches {
		out.Rules = append(out.Rules, &security.Rule{Clauses: []*security.Clause{{Matches: []*security.Match{m}}}})
	}
	return out
}

func compiled(t testing.TB, a *security.Authorization) *Policy {
	t.Helper()
	p, err := FromProto(a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	allow = security.Action_ALLOW
	deny  = security.Action_DENY
)

// The fail-closed table of the design: which matches are true, for a peer that is what the match
// names (web), one that is not (evil) and one that proves nothing.
func TestMatchFailsClosed(t *testing.T) {
	type truth struct{ allowWeb, allowEvil, allowPlain, denyWeb, denyEvil, denyPlain bool }
	positive := truth{allowWeb: true, denyWeb: true}
	negative := truth{allowEvil: true, denyEvil: true, denyPlain: true}
	always := truth{true, true, true, true, true, true}
	never := truth{}
	anyPeer := truth{allowWeb: true, allowEvil: true, denyWeb: true, denyEvil: true}
	noPeer := truth{denyPlain: true}
	for _, tt := range []struct {
		name  string
		match *security.Match
		want  truth
	}{
		{"namespaces exact", &security.Match{Namespaces: strs(isExact("shop"))}, positive},
		{"namespaces exact of another case", &security.Match{Namespaces: strs(isExact("Shop"))}, never},
		{"namespaces prefix", &security.Match{Namespaces: strs(hasPrefix("sh"))}, positive},
		{"namespaces suffix", &security.Match{Namespaces: strs(hasSuffix("op"))}, positive},
		{"namespaces empty prefix", &security.Match{Namespaces: strs(hasPrefix(""))}, anyPeer},
		{"namespaces presence", &security.Match{Namespaces: strs(isPresent())}, anyPeer},
		{"namespaces, one of two", &security.Match{Namespaces: strs(isExact("x"), isExact("shop"))}, positive},
		{"not namespaces exact", &security.Match{NotNamespaces: strs(isExact("shop"))}, negative},
		{"not namespaces prefix", &security.Match{NotNamespaces: strs(hasPrefix("sh"))}, negative},
		{"not namespaces suffix", &security.Match{NotNamespaces: strs(hasSuffix("op"))}, negative},
		{"not namespaces presence", &security.Match{NotNamespaces: strs(isPresent())}, noPeer},
		{"principals exact", &security.Match{Principals: strs(isExact("cluster.local/ns/shop/sa/web"))}, positive},
		{"principals exact, longer", &security.Match{Principals: strs(isExact("cluster.local/ns/shop/sa/webs"))}, never},
		{"principals exact, shorter", &security.Match{Principals: strs(isExact("cluster.local/ns/shop/sa/we"))}, never},
		{"principals prefix within a part", &security.Match{Principals: strs(hasPrefix("cluster.local/ns/sh"))}, positive},
		{"principals prefix at a part's end", &security.Match{Principals: strs(hasPrefix("cluster.local/ns/shop"))}, positive},
		{"principals prefix is the whole", &security.Match{Principals: strs(hasPrefix("cluster.local/ns/shop/sa/web"))}, positive},
		{"principals prefix too long", &security.Match{Principals: strs(hasPrefix("cluster.local/ns/shop/sa/web/"))}, never},
		{"principals suffix", &security.Match{Principals: strs(hasSuffix("shop/sa/web"))}, positive},
		{"principals suffix is the whole", &security.Match{Principals: strs(hasSuffix("cluster.local/ns/shop/sa/web"))}, positive},
		{"principals suffix too long", &security.Match{Principals: strs(hasSuffix("x.cluster.local/ns/shop/sa/web"))}, never},
		{"principals presence", &security.Match{Principals: strs(isPresent())}, anyPeer},
		{"not principals exact", &security.Match{NotPrincipals: strs(isExact("cluster.local/ns/shop/sa/web"))}, negative},
		{"not principals prefix", &security.Match{NotPrincipals: strs(hasPrefix("cluster.local/ns/shop/"))}, negative},
		{"not principals suffix", &security.Match{NotPrincipals: strs(hasSuffix("/web"))}, negative},
		{"not principals presence: STRICT", &security.Match{NotPrincipals: strs(isPresent())}, noPeer},
		{"service accounts", &security.Match{ServiceAccounts: sa("shop", "web")}, positive},
		{"service accounts of another namespace", &security.Match{ServiceAccounts: sa("x", "web")}, never},
		{"not service accounts", &security.Match{NotServiceAccounts: sa("shop", "web")}, negative},
		{"positive and negative identity", &security.Match{Namespaces: strs(isPresent()), NotServiceAccounts: sa("other", "evil")}, positive},
		{"source IPs in", &security.Match{SourceIps: cidr("10.0.0.0/24")}, always},
		{"source IPs with host bits", &security.Match{SourceIps: cidr("10.0.0.77/24")}, always},
		{"source IPs not in", &security.Match{SourceIps: cidr("10.9.0.0/16")}, never},
		{"source IPs of the other family", &security.Match{SourceIps: cidr("::/0")}, never},
		{"source IPs IPv4-mapped", &security.Match{SourceIps: cidr("::ffff:10.0.0.0/120")}, always},
		{"not source IPs in", &security.Match{NotSourceIps: cidr("10.0.0.1/32")}, never},
		{"not source IPs not in", &security.Match{NotSourceIps: cidr("10.0.0.2/32")}, always},
		{"destination IPs in", &security.Match{DestinationIps: cidr("10.0.1.1/32")}, always},
		{"destination IPs not in", &security.Match{DestinationIps: cidr("10.0.1.2/32")}, never},
		{"not destination IPs in", &security.Match{NotDestinationIps: cidr("10.0.0.0/8")}, never},
		{"not destination IPs not in", &security.Match{NotDestinationIps: cidr("11.0.0.0/8")}, always},
		{"ports in", &security.Match{DestinationPorts: []uint32{80, 8080}}, always},
		{"ports not in", &security.Match{DestinationPorts: []uint32{80}}, never},
		{"ports: 15008 is not the application's", &security.Match{DestinationPorts: []uint32{15008}}, never},
		{"not ports in", &security.Match{NotDestinationPorts: []uint32{8080}}, never},
		{"not ports not in", &security.Match{NotDestinationPorts: []uint32{80}}, always},
		{"kinds are ANDed", &security.Match{Namespaces: strs(isExact("shop")), DestinationPorts: []uint32{80}}, never},
		{"empty match", &security.Match{}, truth{denyWeb: true, denyEvil: true, denyPlain: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, d := compiled(t, authorization("p", allow, tt.match)), compiled(t, authorization("p", deny, tt.match))
			got := truth{
				a.matches(flow(web)), a.matches(flow(evil)), a.matches(flow(identity.ID{})),
				d.matches(flow(web)), d.matches(flow(evil)), d.matches(flow(identity.ID{})),
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestUnknownAddressRefuses(t *testing.T) {
	f := &Flow{Source: web}
	for name, m := range map[string]*security.Match{
		"source":          {SourceIps: cidr("10.0.0.0/8")},
		"not source":      {NotSourceIps: cidr("10.0.0.0/8")},
		"destination":     {DestinationIps: cidr("10.0.0.0/8")},
		"not destination": {NotDestinationIps: cidr("10.0.0.0/8")},
	} {
		if compiled(t, authorization("p", allow, m)).matches(f) || !compiled(t, authorization("p", deny, m)).matches(f) {
			t.Errorf("%s: an address that is not known must satisfy DENY and not ALLOW", name)
		}
	}
}

func TestMappedSourceIsUnmapped(t *testing.T) {
	f := flow(web)
	f.SourceIP = netip.MustParseAddr("::ffff:10.0.0.1")
	p := compiled(t, authorization("p", deny, &security.Match{SourceIps: cidr("10.0.0.0/8")}))
	if v := Judge(f, []*Policy{p}, nil); v.Allowed {
		t.Error("an IPv4-mapped source escaped an IPv4 block")
	}
}

func TestStructure(t *testing.T) {
	yes, no := &security.Match{Namespaces: strs(isExact("shop"))}, &security.Match{Namespaces: strs(isExact("x"))}
	clause := func(m ...*security.Match) *security.Clause { return &security.Clause{Matches: m} }
	for _, tt := range []struct {
		name  string
		rules []*security.Rule
		want  bool
	}{
		{"no rules", nil, false},
		{"rule without clauses", []*security.Rule{{}}, true},
		{"clause without matches", []*security.Rule{{Clauses: []*security.Clause{clause()}}}, true},
		{"matches are ORed", []*security.Rule{{Clauses: []*security.Clause{clause(no, yes)}}}, true},
		{"clauses are ANDed", []*security.Rule{{Clauses: []*security.Clause{clause(yes), clause(no)}}}, false},
		{"rules are ORed", []*security.Rule{{Clauses: []*security.Clause{clause(no)}}, {Clauses: []*security.Clause{clause(yes)}}}, true},
	} {
		for _, action := range []security.Action{allow, deny} {
			a := authorization("p", action)
			a.Rules = tt.rules
			if got := compiled(t, a).matches(flow(web)); got != tt.want {
				t.Errorf("%s, %v: %v, want %v", tt.name, action, got, tt.want)
			}
		}
	}
}

func note(t testing.TB, n *ambit.PolicyNote) []*workload.Extension {
	t.Helper()
	cfg, err := anypb.New(n)
	if err != nil {
		t.Fatal(err)
	}
	return []*workload.Extension{{Name: NoteExtension, Config: cfg}}
}

func with(p *security.Authorization, change func(*security.Authorization)) *security.Authorization {
	change(p)
	return p
}

func TestJudge(t *testing.T) {
	isWeb := &security.Match{Namespaces: strs(isExact("shop"))}
	isX := &security.Match{Namespaces: strs(isExact("x"))}
	dry := func(a *security.Authorization) { a.DryRun = true }
	allowWeb, allowX := authorization("allow-web", allow, isWeb), authorization("allow-x", allow, isX)
	denyWeb, denyX := authorization("deny-web", deny, isWeb), authorization("deny-x", deny, isX)
	dryDenyWeb := with(authorization("dry-deny-web", deny, isWeb), dry)
	dryAllowWeb := with(authorization("dry-allow-web", allow, isWeb), dry)
	dryAllowX := with(authorization("dry-allow-x", allow, isX), dry)
	strict := authorization("strict", deny, &security.Match{NotPrincipals: strs(isPresent())})
	strictPort := authorization("strict-port", deny, &security.Match{NotPrincipals: strs(isPresent()), DestinationPorts: []uint32{8080}})
	strictTwoClauses := with(authorization("strict-clauses", deny), func(a *security.Authorization) {
		a.Rules = []*security.Rule{{Clauses: []*security.Clause{
			{Matches: []*security.Match{{NotPrincipals: strs(isPresent())}}},
			{Matches: []*security.Match{{NotDestinationPorts: []uint32{9090}}}},
		}}}
	})
	denyOthers := authorization("deny-others", deny, &security.Match{NotPrincipals: strs(isExact("cluster.local/ns/shop/sa/web"))})
	denyPlainFrom := authorization("deny-plain-from", deny, &security.Match{NotPrincipals: strs(isPresent()), SourceIps: cidr("10.0.0.0/8")})
	fromPA := with(authorization("pa", deny, &security.Match{NotNamespaces: strs(isPresent())}), func(a *security.Authorization) {
		a.Extensions = note(t, &ambit.PolicyNote{Kind: "PeerAuthentication"})
	})
	needsL7 := with(authorization("l7", allow), func(a *security.Authorization) {
		a.Extensions = note(t, &ambit.PolicyNote{Refused: []string{"rules[0]: refused: needs layer 7, no waypoint"}})
	})
	saidUnreadable := with(authorization("said", deny), func(a *security.Authorization) {
		a.Extensions = note(t, &ambit.PolicyNote{Unintelligible: true, Reason: "bad CIDR"})
	})
	badAllow := Unintelligible("bad", "shop", Namespace, Allow, "garbage")
	badDeny := Unintelligible("bad", "shop", Namespace, Deny, "garbage")
	plain := identity.ID{}
	for _, tt := range []struct {
		name     string
		peer     identity.ID
		policies []*security.Authorization
		more     []*Policy
		unknown  []string
		want     Verdict
	}{
		{name: "no policy", peer: plain, want: Verdict{Allowed: true}},
		{name: "allow", peer: web, policies: []*security.Authorization{allowX, allowWeb}, want: Verdict{Allowed: true, Policy: "shop/allow-web"}},
		{name: "no allow", peer: evil, policies: []*security.Authorization{allowWeb},
			want: Verdict{Reason: reason.PolicyNoAllow, Policy: "shop/allow-web", Detail: "ALLOW policy shop/allow-web applies and does not match"}},
		{name: "no allow of several", peer: evil, policies: []*security.Authorization{allowWeb, allowX},
			want: Verdict{Reason: reason.PolicyNoAllow, Detail: noneMatched}},
		{name: "allow with no rules", peer: web, policies: []*security.Authorization{authorization("none", allow)},
			want: Verdict{Reason: reason.PolicyNoAllow, Policy: "shop/none", Detail: "ALLOW policy shop/none applies and does not match"}},
		{name: "deny with no rules", peer: web, policies: []*security.Authorization{authorization("none", deny)}, want: Verdict{Allowed: true}},
		{name: "deny beats allow", peer: web, policies: []*security.Authorization{allowWeb, denyWeb},
			want: Verdict{Reason: reason.PolicyDeny, Policy: "shop/deny-web", Detail: "refused by DENY policy shop/deny-web"}},
		{name: "deny of another", peer: web, policies: []*security.Authorization{denyX}, want: Verdict{Allowed: true}},
		{name: "dry-run deny is noted", peer: web, policies: []*security.Authorization{dryDenyWeb},
			want: Verdict{Allowed: true, DryRun: []string{"shop/dry-deny-web"}}},
		{name: "dry-run deny is noted beside a deny", peer: web, policies: []*security.Authorization{denyWeb, dryDenyWeb},
			want: Verdict{Reason: reason.PolicyDeny, Policy: "shop/deny-web", Detail: "refused by DENY policy shop/deny-web", DryRun: []string{"shop/dry-deny-web"}}},
		{name: "dry-run allow is noted", peer: web, policies: []*security.Authorization{dryAllowX},
			want: Verdict{Allowed: true, DryRun: []string{"shop/dry-allow-x"}}},
		{name: "dry-run allows, one matches", peer: web, policies: []*security.Authorization{dryAllowX, dryAllowWeb}, want: Verdict{Allowed: true}},
		{name: "dry-run allow beside one that admits", peer: web, policies: []*security.Authorization{dryAllowX, allowWeb},
			want: Verdict{Allowed: true, Policy: "shop/allow-web"}},
		{name: "dry-run allow does not admit", peer: web, policies: []*security.Authorization{dryAllowWeb, allowX},
			want: Verdict{Reason: reason.PolicyNoAllow, Policy: "shop/allow-x", Detail: "ALLOW policy shop/allow-x applies and does not match"}},
		{name: "unknown name", peer: web, policies: []*security.Authorization{allowWeb}, unknown: []string{"shop/new"},
			want: Verdict{Reason: reason.PolicyUnknown, Policy: "shop/new", Detail: unknownPolicy}},
		{name: "unknown name and a deny: no need to wait", peer: web, policies: []*security.Authorization{denyWeb}, unknown: []string{"shop/new"},
			want: Verdict{Reason: reason.PolicyDeny, Policy: "shop/deny-web", Detail: "refused by DENY policy shop/deny-web"}},
		{name: "strict, plaintext", peer: plain, policies: []*security.Authorization{strict},
			want: Verdict{Reason: reason.MTLSRequired, Policy: "shop/strict", Detail: plaintextRefused}},
		{name: "strict, authenticated", peer: evil, policies: []*security.Authorization{strict}, want: Verdict{Allowed: true}},
		{name: "strict on a port", peer: plain, policies: []*security.Authorization{strictPort},
			want: Verdict{Reason: reason.MTLSRequired, Policy: "shop/strict-port", Detail: plaintextRefused}},
		{name: "strict but for a port", peer: plain, policies: []*security.Authorization{strictTwoClauses},
			want: Verdict{Reason: reason.MTLSRequired, Policy: "shop/strict-clauses", Detail: plaintextRefused}},
		{name: "not strict: a deny of all but one", peer: plain, policies: []*security.Authorization{denyOthers},
			want: Verdict{Reason: reason.PolicyDeny, Policy: "shop/deny-others", Detail: "refused by DENY policy shop/deny-others"}},
		{name: "not strict: an address counts too", peer: plain, policies: []*security.Authorization{denyPlainFrom},
			want: Verdict{Reason: reason.PolicyDeny, Policy: "shop/deny-plain-from", Detail: "refused by DENY policy shop/deny-plain-from"}},
		{name: "strict by its kind", peer: plain, policies: []*security.Authorization{fromPA},
			want: Verdict{Reason: reason.MTLSRequired, Policy: "shop/pa", Detail: plaintextRefused}},
		{name: "needs layer 7", peer: web, policies: []*security.Authorization{allowX, needsL7},
			want: Verdict{Reason: reason.PolicyNeedsL7, Policy: "shop/l7", Detail: "ALLOW policy shop/l7: rules[0]: refused: needs layer 7, no waypoint"}},
		{name: "needs layer 7 but another allows", peer: web, policies: []*security.Authorization{needsL7, allowWeb},
			want: Verdict{Allowed: true, Policy: "shop/allow-web"}},
		{name: "unreadable allow", peer: web, more: []*Policy{badAllow},
			want: Verdict{Reason: reason.PolicyUnreadable, Policy: "shop/bad", Detail: "ALLOW policy shop/bad cannot be understood: garbage"}},
		{name: "unreadable allow beside one that admits", peer: web, policies: []*security.Authorization{allowWeb}, more: []*Policy{badAllow},
			want: Verdict{Allowed: true, Policy: "shop/allow-web"}},
		{name: "unreadable deny", peer: web, policies: []*security.Authorization{allowWeb}, more: []*Policy{badDeny},
			want: Verdict{Reason: reason.PolicyUnreadable, Policy: "shop/bad", Detail: "DENY policy shop/bad cannot be understood: garbage"}},
		{name: "unreadable, says the controller", peer: web, policies: []*security.Authorization{saidUnreadable},
			want: Verdict{Reason: reason.PolicyUnreadable, Policy: "shop/said", Detail: "DENY policy shop/said cannot be understood: bad CIDR"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ps := tt.more
			for _, a := range tt.policies {
				ps = append(ps, compiled(t, a))
			}
			if d := cmp.Diff(tt.want, Judge(flow(tt.peer), ps, tt.unknown)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestFromProtoRefuses(t *testing.T) {
	long := strings.Repeat("a", maxString+1)
	later := func() *security.Match {
		m := &security.Match{Namespaces: strs(isExact("shop"))}
		m.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) // field 127
		return m
	}
	for name, a := range map[string]*security.Authorization{
		"no name":             with(authorization("", allow), func(*security.Authorization) {}),
		"no namespace":        with(authorization("p", allow), func(a *security.Authorization) { a.Namespace = "" }),
		"action":              authorization("p", 7),
		"scope":               with(authorization("p", allow), func(a *security.Authorization) { a.Scope = 7 }),
		"string of no kind":   authorization("p", allow, &security.Match{Principals: strs(&security.StringMatch{})}),
		"empty exact":         authorization("p", allow, &security.Match{Namespaces: strs(isExact(""))}),
		"long string":         authorization("p", allow, &security.Match{Namespaces: strs(isExact(long))}),
		"address bytes":       authorization("p", allow, &security.Match{SourceIps: []*security.Address{{Address: []byte{1, 2, 3}}}}),
		"no address":          authorization("p", allow, &security.Match{NotSourceIps: []*security.Address{{}}}),
		"prefix length":       authorization("p", deny, &security.Match{SourceIps: []*security.Address{{Address: []byte{1, 2, 3, 4}, Length: 33}}}),
		"mapped, too wide":    authorization("p", deny, &security.Match{SourceIps: cidr("::ffff:10.0.0.0/90")}),
		"port 0":              authorization("p", deny, &security.Match{DestinationPorts: []uint32{0}}),
		"port 65536":          authorization("p", deny, &security.Match{NotDestinationPorts: []uint32{65536}}),
		"account":             authorization("p", deny, &security.Match{ServiceAccounts: sa("shop", "")}),
		"extension in match":  authorization("p", allow, &security.Match{Extensions: []*workload.Extension{{Name: "x"}}}),
		"field of the future": authorization("p", allow, later()),
		"bad note": with(authorization("p", allow), func(a *security.Authorization) {
			a.Extensions = []*workload.Extension{{Name: NoteExtension, Config: &anypb.Any{TypeUrl: "x", Value: []byte{1}}}}
		}),
		"too large": authorization("p", deny, &security.Match{DestinationPorts: make([]uint32, maxElements+1)}),
	} {
		if p, err := FromProto(a); err == nil {
			t.Errorf("%s: compiled %v", name, p.Key())
		}
	}
}

func TestStandingIsStrictest(t *testing.T) {
	a := authorization("p", 7)
	a.Scope, a.DryRun = 9, true
	_, err := FromProto(a)
	p := Standing(a, err)
	if p.Action() != Deny || p.Scope() != Global || !p.DryRun() || p.Unreadable() == "" || p.Key() != "shop/p" {
		t.Errorf("got %+v", p)
	}
}

func TestForeignExtensionIsNoObstacle(t *testing.T) {
	a := authorization("p", allow, &security.Match{Namespaces: strs(isExact("shop"))})
	a.Extensions = []*workload.Extension{{Name: "example.com/other"}}
	compiled(t, a)
}

func judgeSet(tb testing.TB) []*Policy {
	return []*Policy{
		compiled(tb, authorization("strict", deny, &security.Match{NotPrincipals: strs(isPresent())})),
		compiled(tb, authorization("deny", deny, &security.Match{Principals: strs(hasSuffix("/sa/evil")), NotSourceIps: cidr("192.168.0.0/16")})),
		compiled(tb, authorization("x", allow, &security.Match{Principals: strs(hasPrefix("cluster.local/ns/x/"))})),
		compiled(tb, authorization("web", allow, &security.Match{Principals: strs(isExact("cluster.local/ns/shop/sa/web")), DestinationPorts: []uint32{8080}})),
	}
}

func TestJudgeAllocatesNothing(t *testing.T) {
	ps := judgeSet(t)
	for name, f := range map[string]*Flow{"allowed": flow(web), "denied": flow(evil), "plaintext": flow(identity.ID{})} {
		if n := testing.AllocsPerRun(200, func() { Judge(f, ps, nil) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	ps, f := judgeSet(b), flow(web)
	b.ReportAllocs()
	for b.Loop() {
		if !Judge(f, ps, nil).Allowed {
			b.Fatal("refused")
		}
	}
}

// BenchmarkJudgeMany judges by policies none of which matches: what each costs a connection.
func BenchmarkJudgeMany(b *testing.B) {
	f := flow(web)
	for _, n := range []int{1, 100, 5000} {
		var ps []*Policy
		for i := range n {
			ps = append(ps, compiled(b, authorization(fmt.Sprint("p", i), deny,
				&security.Match{Principals: strs(isExact(fmt.Sprint("cluster.local/ns/crowd/sa/sa", i))), DestinationPorts: []uint32{8080}})))
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !Judge(f, ps, nil).Allowed {
					b.Fatal("refused")
				}
			}
		})
	}
}

// FuzzFromProto: whatever the bytes, a policy that was refused stands and never admits.
func FuzzFromProto(f *testing.F) {
	for _, a := range []*security.Authorization{
		authorization("p", allow, &security.Match{Namespaces: strs(isExact("shop")), SourceIps: cidr("10.0.0.0/8")}),
		authorization("p", deny, &security.Match{NotPrincipals: strs(isPresent()), DestinationPorts: []uint32{80}}),
	} {
		b, err := proto.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var a security.Authorization
		if proto.Unmarshal(b, &a) != nil {
			return
		}
		p, err := FromProto(&a)
		if err != nil {
			if p = Standing(&a, err); !p.DryRun() && Judge(flow(web), []*Policy{p}, nil).Allowed {
				t.Fatalf("a policy that cannot be understood admitted: %v", err)
			}
			return
		}
		Judge(flow(identity.ID{}), []*Policy{p}, nil)
		Judge(flow(web), []*Policy{p}, nil)
	})
}
