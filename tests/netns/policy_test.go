package netns

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

const fromClient = `
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/client"]}}]
`

// TestPolicy checks L4 policy on both nodes and families, and that live connections follow it.
func TestPolicy(t *testing.T) {
	s := newShop(t, lab.Options{})
	second := s.pod(t, "shop/second", "node-a") // another identity, beside the client
	must(t, lab.WaitEnrolled(ctx(t), second))
	must(t, s.waitTunnels(ctx(t), second))
	for _, c := range policyCases(s) {
		t.Run(c.name, func(t *testing.T) {
			s.authorize(t, "shop", "near", "near", c.action, c.rules)
			s.authorize(t, "shop", "far", "far", c.action, c.rules)
			defer s.clear(t)
			each(t, []*lab.Pod{s.near, s.far}, func(t *testing.T, v6 bool, to *lab.Pod) {
				s.judged(t, s.client, to, v6, c.client)
				s.judged(t, second, to, v6, c.second)
				s.judged(t, s.plainClient, to, v6, c.plain)
			})
		})
	}
	t.Run("live connections", func(t *testing.T) { s.live(t) })
	t.Run("a changed label re-judges", func(t *testing.T) { s.relabel(t) })
	t.Run("reason is told", func(t *testing.T) { s.reasons(t) })
}

type policyCase struct {
	name, action, rules   string
	client, second, plain bool // who may pass
}

func policyCases(s *shop) []policyCase {
	return []policyCase{
		{"ALLOW one principal", "ALLOW", fromClient, true, false, false},
		{"DENY one principal", "DENY", fromClient, false, true, true},
		{"ALLOW a namespace", "ALLOW", `
  - from: [{source: {namespaces: ["shop"]}}]
`, true, true, false},
		{"DENY a namespace", "DENY", `
  - from: [{source: {namespaces: ["shop"]}}]
`, false, false, true},
		{"ALLOW a service account", "ALLOW", `
  - from: [{source: {serviceAccounts: ["shop/client"]}}]
`, true, false, false},
		{"plaintext satisfies no negative match of ALLOW", "ALLOW", `
  - from: [{source: {notPrincipals: ["cluster.local/ns/shop/sa/second"]}}]
`, true, false, false},
		{"plaintext satisfies every negative match of DENY", "DENY", `
  - from: [{source: {notPrincipals: ["cluster.local/ns/shop/sa/client"]}}]
`, true, false, false},
		{"ALLOW addresses", "ALLOW", fmt.Sprintf(`
  - from: [{source: {ipBlocks: [%q, %q, %q]}}]
`, s.client.V4, s.client.V6.String()+"/128", s.plainClient.V4.String()+"/32") + fmt.Sprintf(`
  - from: [{source: {ipBlocks: [%q]}}]
`, s.plainClient.V6), true, false, true},
		{"DENY other addresses", "DENY", fmt.Sprintf(`
  - from: [{source: {notIpBlocks: [%q, %q]}}]
`, s.client.V4, s.client.V6), true, false, false},
		{"ALLOW another port", "ALLOW", `
  - to: [{operation: {ports: ["9999"]}}]
`, false, false, false},
		{"ALLOW the port", "ALLOW", fmt.Sprintf(`
  - to: [{operation: {ports: ["%d"]}}]
`, portBanner), true, true, true},
		{"DENY all ports but this", "DENY", fmt.Sprintf(`
  - to: [{operation: {notPorts: ["%d"]}}]
`, portBanner), true, true, true},
		{"ALLOW that needs layer 7 allows nothing", "ALLOW", `
  - to: [{operation: {methods: ["GET"]}}]
`, false, false, false},
		{"DENY that needs layer 7 denies its layer 4 rest", "DENY", `
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/client"]}}]
    to: [{operation: {methods: ["GET"]}}]
`, false, true, true},
		{"ALLOW that cannot be read allows nothing", "ALLOW", `
  - from: [{source: {ipBlocks: ["not an address"]}}]
`, false, false, false},
		{"DENY that cannot be read denies all", "DENY", `
  - from: [{source: {noSuchField: ["x"]}}]
`, false, false, false},
	}
}

func (s *shop) clear(t *testing.T) {
	t.Helper()
	for _, name := range []string{"it", "near", "far"} {
		s.forgetPolicy(t, "shop", name)
	}
	for _, to := range []*lab.Pod{s.near, s.far} {
		eventually(t, func() error { return answers(ctx(t), program(t, s.plainClient), to.At(false, portBanner)) })
		eventually(t, func() error { return answers(ctx(t), program(t, s.client), to.At(false, portBanner)) })
	}
}

func (s *shop) judged(t *testing.T, from, to *lab.Pod, v6, pass bool) {
	t.Helper()
	check := refused
	if pass {
		check = answers
	}
	c := ctx(t)
	err := lab.Eventually(short(t), func(_ context.Context) error { return check(c, program(t, from), to.At(v6, portBanner)) })
	if err != nil {
		t.Errorf("from %s (may pass: %v): %v", from.FullName(), pass, err)
	}
}

// live adds, changes and removes a policy under connections that do not stop.
func (s *shop) live(t *testing.T) {
	defer s.clear(t)
	mine := hold(t, s.client, s.near, s.far)
	theirs := hold(t, s.plainClient, s.near, s.far)
	s.authorize(t, "shop", "it", "", "DENY", fromClient)
	for _, c := range mine {
		mustEnd(t, c)
	}
	pingAll(t, theirs)
	s.authorize(t, "shop", "it", "", "DENY", `
  - from: [{source: {notNamespaces: ["shop"]}}]
`)
	for _, c := range theirs {
		mustEnd(t, c)
	}
	eventually(t, func() error { return answers(ctx(t), program(t, s.client), s.far.At(false, portBanner)) })
	mine = hold(t, s.client, s.near, s.far)
	s.forgetPolicy(t, "shop", "it")
	eventually(t, func() error { return answers(ctx(t), program(t, s.plainClient), s.far.At(false, portBanner)) })
	pingAll(t, mine)
	closeAll(t, mine)
}

// mustEnd waits for the other side to end a connection.
func mustEnd(t *testing.T, c *lab.Conn) {
	t.Helper()
	how, err := c.Ended(ctx(t), 50*time.Second) // a peer whose network is gone is missed after 40 s
	if err != nil || strings.Contains(how, "timeout") {
		t.Errorf("connection to %s should have been ended: %s %v", c.Remote, how, err)
	}
	must(t, c.Close(ctx(t)))
}

func (s *shop) relabel(t *testing.T) {
	defer s.clear(t)
	s.authorize(t, "shop", "it", "locked", "DENY", fromClient)
	held := hold(t, s.client, s.near, s.far)
	for _, p := range []*lab.Pod{s.near, s.far} {
		must(t, p.Label("app", "locked"))
		defer func() { must(t, p.Label("app", p.Name)) }()
	}
	for _, c := range held {
		mustEnd(t, c)
	}
}

// reasons checks that a refusal is told alike by explain, the metrics and the access log.
func (s *shop) reasons(t *testing.T) {
	defer s.clear(t)
	s.authorize(t, "shop", "it", "far", "DENY", fromClient)
	eventually(t, func() error { // the policy may meet the first connection when it is there already
		if err := refused(ctx(t), program(t, s.client), s.far.At(false, portBanner)); err != nil {
			return err
		}
		return s.logged("node-b", `"policy_deny"`, `shop/it`, s.client.Identity())
	})
	eventually(t, func() error {
		e, err := s.explain(ctx(t), "node-b", "shop/client", "shop/far", portBanner)
		if err == nil && (e.Allowed || e.Reason != "policy_deny" || e.Policy != "shop/it") {
			err = fmt.Errorf("explanation %+v", e)
		}
		return err
	})
	eventually(t, func() error {
		n, err := s.metric(ctx(t), "node-b", "ambit_refused_total", `reason="policy_deny"`)
		if err == nil && n == 0 {
			err = fmt.Errorf("no refusal is counted")
		}
		return err
	})
}
