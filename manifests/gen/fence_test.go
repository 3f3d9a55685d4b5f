package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	admission "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"
)

// fence evaluates a policy as the API server does.
type fence struct {
	*testing.T
	env  *cel.Env
	spec admission.ValidatingAdmissionPolicySpec
}

func newFence(t *testing.T, file string) fence {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p admission.ValidatingAdmissionPolicy
	if err := yaml.UnmarshalStrict([]byte(documents(string(text))[0]), &p); err != nil {
		t.Fatal(err)
	}
	dyn := func(name string) cel.EnvOption { return cel.Variable(name, cel.DynType) }
	env, err := cel.NewEnv(ext.Strings(), dyn("object"), dyn("oldObject"), dyn("variables"))
	if err != nil {
		t.Fatal(err)
	}
	return fence{t, env, p.Spec}
}

func (f fence) eval(expression string, in map[string]any) any {
	f.Helper()
	ast, issues := f.env.Compile(expression)
	if issues.Err() != nil {
		f.Fatalf("%s: %v", expression, issues.Err())
	}
	program, err := f.env.Program(ast)
	if err != nil {
		f.Fatalf("%s: %v", expression, err)
	}
	out, _, err := program.Eval(in)
	if err != nil {
		f.Fatalf("%s: %v", expression, err)
	}
	return out.Value()
}

// judge returns the message of the first validation that refuses an update; "" if it passes.
func (f fence) judge(group string, old, now map[string]any) string {
	f.Helper()
	definition := func(annotations map[string]any) map[string]any {
		meta := map[string]any{}
		if annotations != nil {
			meta["annotations"] = annotations
		}
		return map[string]any{"metadata": meta, "spec": map[string]any{"group": group}}
	}
	variables := map[string]any{}
	in := map[string]any{"object": definition(now), "oldObject": definition(old), "variables": variables}
	for _, c := range f.spec.MatchConditions {
		if f.eval(c.Expression, in) != true {
			return ""
		}
	}
	for _, v := range f.spec.Variables {
		variables[v.Name] = f.eval(v.Expression, in)
	}
	for _, v := range f.spec.Validations {
		if f.eval(v.Expression, in) == true {
			continue
		}
		if v.MessageExpression == "" {
			return v.Message
		}
		return fmt.Sprint(f.eval(v.MessageExpression, in))
	}
	return ""
}

func TestNewerDefinitionsStay(t *testing.T) {
	f := newFence(t, base+"/fence-crds.yaml")
	const gateway, istio = "gateway.networking.k8s.io", "security.istio.io"
	bundle := func(v string) map[string]any {
		return map[string]any{"gateway.networking.k8s.io/bundle-version": v, sourceKey: gatewayModule + " " + v}
	}
	source := func(v string) map[string]any { return map[string]any{sourceKey: istioModule + " " + v} }
	for _, c := range []struct {
		group    string
		old, now map[string]any
		want     string // in the message; "": it is replaced
	}{
		{gateway, bundle("v1.6.3"), bundle("v1.6.3"), ""},
		{gateway, bundle("v1.6.3"), bundle("v1.10.0"), ""},
		{gateway, bundle("v1.10.0"), bundle("v1.6.3"), "newer one, v1.10.0"},
		{gateway, bundle("v2.0.0-rc.1"), bundle("v1.6.3"), "newer one, v2.0.0-rc.1"},
		{gateway, bundle("mine"), bundle("v1.6.3"), ""},
		{gateway, nil, bundle("v1.6.3"), ""},
		{istio, source("v1.31.4"), source("v1.31.4"), ""},
		{istio, source("v1.9.9"), source("v1.31.4"), ""},
		{istio, source("v1.31.5"), source("v1.31.4"), "newer one, v1.31.5"},
		{istio, source("v1.32.0"), source("v1.31.4"), "newer one, v1.32.0"},
		{istio, source("v2.0.0"), source("v1.31.4"), "newer one, v2.0.0"},
		{istio, source("v1.32.0-alpha.1"), source("v1.31.4"), "newer one, v1.32.0-alpha.1"},
		{istio, source("restored"), source("v1.31.4"), ""},
		{istio, nil, source("v1.31.4"), "Istio's own"},
		{istio, map[string]any{"helm.sh/resource-policy": "keep"}, source("v1.31.4"), "Istio's own"},
		{istio, source("v1.32.0"), map[string]any{"by": "istioctl"}, ""},
	} {
		got := f.judge(c.group, c.old, c.now)
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v -> %v: %q, want %q", c.group, c.old, c.now, got, c.want)
		}
	}
}
