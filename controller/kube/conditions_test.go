package kube

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ambitmesh/ambit/controller/translate"
	"github.com/ambitmesh/ambit/internal/objects"
)

func policy(name string, generation int64, conditions ...any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
		"metadata": map[string]any{"namespace": "shop", "name": name, "generation": generation, "resourceVersion": "7"},
		"spec":     map[string]any{},
	}}
	if len(conditions) > 0 {
		u.Object["status"] = map[string]any{"conditions": conditions, "other": "kept"}
	}
	return u
}

// bench is a writer before an API server of policies.
type bench struct {
	*Conditions
	t      *testing.T
	client *dynamicfake.FakeDynamicClient
	now    time.Time
}

func newBench(t *testing.T, objs ...runtime.Object) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	gvr, _ := resourceOf(objects.AuthorizationPolicy)
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(scheme, map[schema.GroupVersionResource]string{gvr: "AuthorizationPolicyList"}, objs...)
	b := &bench{t: t, client: client, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b.Conditions = &Conditions{Client: client, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now }, written: map[translate.Ref]written{}}
	return b
}

func status(name string, generation int64, accepted bool, message string, parts ...string) translate.Status {
	return translate.Status{Ref: translate.Ref{Kind: objects.AuthorizationPolicy, Namespace: "shop", Name: name}, Accepted: accepted,
		EnforcedBy: "ztunnel", Message: message, Generation: generation, Parts: parts}
}

func (b *bench) write(all ...translate.Status) { b.round(b.t.Context(), all, time.Second) }

// calls counts what reached the API server, and forgets it.
func (b *bench) calls() (gets, patches int) {
	for _, a := range b.client.Actions() {
		switch a.GetVerb() {
		case "get":
			gets++
		case "patch":
			patches++
			if a.GetSubresource() != "status" {
				b.t.Errorf("patched %q", a.GetSubresource())
			}
		default:
			b.t.Errorf("called %s", a.GetVerb())
		}
	}
	b.client.ClearActions()
	return gets, patches
}

func (b *bench) conditions(name string) []any {
	b.t.Helper()
	gvr, _ := resourceOf(objects.AuthorizationPolicy)
	u, err := b.client.Resource(gvr).Namespace("shop").Get(b.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.client.ClearActions()
	all, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *bench) ours(name string) map[string]any {
	b.t.Helper()
	for _, x := range b.conditions(name) {
		if m, ok := x.(map[string]any); ok && m["type"] == ConditionType {
			return m
		}
	}
	b.t.Fatalf("%s has no condition of ours", name)
	return nil
}

func TestAConditionIsWrittenOnceAndBesideOthers(t *testing.T) {
	theirs := map[string]any{"type": "Reconciled", "status": "True", "message": "x"}
	b := newBench(t, policy("p", 3, theirs))
	st := status("p", 3, true, "")
	b.write(st)
	if gets, patches := b.calls(); gets != 1 || patches != 1 {
		t.Errorf("%d gets, %d patches", gets, patches)
	}
	if all := b.conditions("p"); len(all) != 2 {
		t.Errorf("conditions %v", all)
	}
	c := b.ours("p")
	if c["status"] != "True" || c["reason"] != Enforced || c["message"] != "enforced by ztunnel" || number(c["observedGeneration"]) != 3 {
		t.Errorf("condition %v", c)
	}
	b.write(st)
	if gets, patches := b.calls(); gets+patches != 0 {
		t.Errorf("nothing new: %d gets, %d patches", gets, patches)
	}
	next := newBench(t) // the next holder knows nothing and finds it right
	next.client, next.Client = b.client, b.client
	next.write(st)
	if gets, patches := next.calls(); gets != 1 || patches != 0 {
		t.Errorf("another holder: %d gets, %d patches", gets, patches)
	}
}

func TestTransitionTimeMovesWithTheStatusOnly(t *testing.T) {
	b := newBench(t, policy("p", 1))
	b.write(status("p", 1, true, ""))
	first := b.ours("p")["lastTransitionTime"]
	b.now = b.now.Add(time.Hour)
	b.write(status("p", 1, true, "", "rules[0].to: why"))
	c := b.ours("p")
	if c["lastTransitionTime"] != first || c["reason"] != PartlyEnforced || c["message"] != "enforced by ztunnel; not as written: rules[0].to: why" {
		t.Errorf("condition %v", c)
	}
	b.write(status("p", 1, false, "action: unknown"))
	if c := b.ours("p"); c["lastTransitionTime"] == first || c["status"] != "False" || c["reason"] != Refused {
		t.Errorf("condition %v", c)
	}
}

func TestWhatWasNotJudgedIsNotSpokenOf(t *testing.T) {
	b := newBench(t, policy("p", 2))
	b.write(status("p", 1, true, ""), status("gone", 1, true, ""))
	if gets, patches := b.calls(); gets != 2 || patches != 0 {
		t.Errorf("%d gets, %d patches", gets, patches)
	}
	b.write(status("p", 2, true, "")) // too early after the failure
	b.now = b.now.Add(2 * time.Second)
	b.write(status("p", 2, true, ""))
	if c := b.ours("p"); number(c["observedGeneration"]) != 2 {
		t.Errorf("condition %v", c)
	}
}

func TestAConflictIsTriedAgain(t *testing.T) {
	b := newBench(t, policy("p", 1))
	fail := true
	var sent map[string]any
	b.client.PrependReactor("patch", "authorizationpolicies", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p, ok := a.(clienttesting.PatchAction)
		if !ok || json.Unmarshal(p.GetPatch(), &sent) != nil {
			return true, nil, errors.New("no patch")
		}
		if fail {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "authorizationpolicies"}, "p", errors.New("changed"))
		}
		return false, nil, nil
	})
	b.write(status("p", 1, true, ""))
	if m, ok := sent["metadata"].(map[string]any); !ok || m["resourceVersion"] != "7" {
		t.Errorf("the patch is not bound to a version: %v", sent)
	}
	fail = false
	b.now = b.now.Add(2 * time.Second)
	b.write(status("p", 1, true, ""))
	b.ours("p")
}

func TestRunWritesWhatChangesUntilItsEnd(t *testing.T) {
	b := newBench(t, policy("p", 1))
	changed := make(chan struct{}, 1)
	b.Coalesce = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx, func() []translate.Status { return []translate.Status{status("p", 1, true, "")} }, changed)
	}()
	changed <- struct{}{}
	until(t, "taken", func() bool { return len(changed) == 0 })
	cancel()
	<-done
	b.ours("p")
}

func TestVerdicts(t *testing.T) {
	for _, tc := range []struct {
		st   translate.Status
		want verdict
	}{
		{translate.Status{Accepted: true}, verdict{"True", NotEnforced, "enforced by nobody"}},
		{translate.Status{Accepted: true, Message: "no waypoint", Parts: []string{"a: b"}}, verdict{"True", NotEnforced, "no waypoint; a: b"}},
		{translate.Status{EnforcedBy: "ztunnel", Message: "bad; the previous version stays in force"}, verdict{"False", Refused, "bad; the previous version stays in force"}},
		{translate.Status{Accepted: true, EnforcedBy: "ztunnel", Message: "m"}, verdict{"True", Enforced, "enforced by ztunnel; m"}},
	} {
		if got := verdictOf(tc.st); got != tc.want {
			t.Errorf("%+v: %+v, want %+v", tc.st, got, tc.want)
		}
	}
}
