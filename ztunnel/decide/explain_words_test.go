package decide

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambitmesh/ambit/internal/meshpb/ambit"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
	"github.com/ambitmesh/ambit/internal/meshpb/workload"
	"github.com/ambitmesh/ambit/internal/reason"
)

func TestExplainGolden(t *testing.T) {
	w, _ := shop(t, nil)
	note, err := anypb.New(&ambit.PolicyNote{Kind: "AuthorizationPolicy", Refused: []string{"rules[0]: refused: needs layer 7, no waypoint"}})
	if err != nil {
		t.Fatal(err)
	}
	w.addresses(pod("far", "there", and(in("shop/web.shop"), named("shop/get-only")), "10.0.1.1"))
	l7 := policy("get-only", security.Scope_WORKLOAD_SELECTOR, security.Action_ALLOW)
	l7.Extensions = []*workload.Extension{{Name: "ambit.dev/policy", Config: note}}
	w.policies(l7)
	x, err := w.d.Explain("shop/client", "web.shop", 80)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(golden, string(got)); diff != "" {
		t.Error(diff)
	}
}

const golden = `{
 "source": "shop/client",
 "destination": "web.shop",
 "path": "tunnel",
 "identity": "spiffe://cluster.local/ns/shop/sa/client",
 "peerIdentities": [
  "spiffe://cluster.local/ns/shop/sa/far"
 ],
 "service": "shop/web.shop",
 "endpoint": "shop/far 10.0.1.1:8080",
 "endpoints": [
  {
   "workload": "shop/far",
   "address": "10.0.1.1:8080",
   "ejected": false,
   "until": ""
  }
 ],
 "policy": "shop/get-only",
 "allowed": false,
 "reason": "policy_needs_l7",
 "detail": "ALLOW policy shop/get-only: rules[0]: refused: needs layer 7, no waypoint",
 "steps": [
  "shop/client runs on node here as spiffe://cluster.local/ns/shop/sa/client",
  "10.1.0.1 port 80 is service shop/web.shop",
  "the endpoint is shop/far at 10.0.1.1:8080",
  "a tunnel to 10.0.1.1:15008; its proxy must be [spiffe://cluster.local/ns/shop/sa/far]",
  "refused (policy_needs_l7): ALLOW policy shop/get-only: rules[0]: refused: needs layer 7, no waypoint"
 ],
 "dryRun": []
}`

func TestExplainNames(t *testing.T) {
	w, _ := shop(t, nil)
	w.addresses(svc("headless", nil), pod("h", "there", in("shop/headless.shop"), "10.0.1.7"))
	for _, c := range []struct{ source, destination, service, endpoint string }{
		{"shop/client", "shop/far", "", "shop/far 10.0.1.1:80"},
		{"10.0.0.1", "10.0.1.1", "", "shop/far 10.0.1.1:80"},
		{uid("client"), "shop/web", "shop/web.shop", "shop/far 10.0.1.1:8080"},
		{"shop/client", "shop/web.shop", "shop/web.shop", "shop/far 10.0.1.1:8080"},
		{"shop/client", "web", "shop/web.shop", "shop/far 10.0.1.1:8080"},
		{"shop/client", "headless.shop", "shop/headless.shop", "shop/h 10.0.1.7:80"},
		{"shop/client", "192.0.2.1", "", ""},
	} {
		x, err := w.d.Explain(c.source, c.destination, 80)
		if err != nil {
			t.Errorf("%s -> %s: %v", c.source, c.destination, err)
			continue
		}
		if x.Service != c.service || x.Endpoint != c.endpoint || !x.Allowed {
			t.Errorf("%s -> %s: %+v", c.source, c.destination, x)
		}
	}
	for _, c := range [][2]string{{"shop/nobody", "web"}, {"shop/client", "nowhere"}, {"", "web"}, {"shop/client", ""}, {"shop/client", "/"}} {
		if x, err := w.d.Explain(c[0], c[1], 80); err == nil {
			t.Errorf("%q -> %q: %+v", c[0], c[1], x)
		}
	}
}

func TestExplainLeavesNoTrace(t *testing.T) {
	w, client := three(t)
	for i := 0; ejectedOnes(w) == 0 || len(w.bal.State()) < 3; i++ { // until all have been picked
		if i == 1000 {
			t.Fatal("nothing was ejected")
		}
		r := w.outbound(client, vip+":80")
		plan := w.d.Accepted(r)
		if r.To.Name == "far" {
			w.dialed(r, plan, dialErr(reason.ConnectRefused))
		} else {
			w.establish(r, plan)
			w.d.Answered(r)
		}
		w.d.Closed(r)
	}
	before := w.bal.State()
	for range 100 {
		x, err := w.d.Explain("shop/client", "shop/web", 80)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range x.Endpoints {
			if e.Ejected != (e.Workload == "shop/far") || e.Ejected != (e.Until != "") {
				t.Fatalf("%+v", e)
			}
		}
	}
	if diff := cmp.Diff(before, w.bal.State()); diff != "" {
		t.Error(diff)
	}
}

// Asked about a pod of another node, the path is the one from there.
func TestExplainFromAnotherNode(t *testing.T) {
	w, _ := shop(t, nil)
	w.addresses(pod("near", "here", nil, "10.0.0.2"))
	w.serve("near")
	x, err := w.d.Explain("shop/far", "shop/near", 80)
	if err != nil {
		t.Fatal(err)
	}
	if x.Path != "tunnel" || !x.Allowed || !strings.Contains(strings.Join(x.Steps, "\n"), "this is the proxy of node here") {
		t.Errorf("%+v", x)
	}
}
