package mesh

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ambitmesh/ambit/internal/authz"
	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// policy adds or replaces a policy. One that cannot be understood leaves an earlier good version in
// force; without one it stands, restricting.
func (w *writer) policy(a *security.Authorization, version string) error {
	raw, err := encode(a)
	if err != nil {
		w.stand(authz.Standing(a, err), nil)
		return fmt.Errorf("encode policy: %w", err)
	}
	p, err := authz.FromProto(a)
	if err != nil {
		w.stand(authz.Standing(a, err), raw)
		return err
	}
	return w.putPolicy(p, resource{version, raw})
}

// unreadablePolicy is for a message that could not even be decoded: what it would have refused is not
// known, so its whole namespace, and who names it, is refused.
func (w *writer) unreadablePolicy(key, why string) error {
	namespace, name, ok := strings.Cut(key, "/")
	if !ok || namespace == "" || name == "" || len(key) > maxString || !utf8.ValidString(key) {
		return fmt.Errorf("read policy %q: %s", clip(key), why)
	}
	w.stand(authz.Unintelligible(name, namespace, authz.Namespace, authz.Deny, why), nil)
	return fmt.Errorf("read policy %q: %s", clip(key), why)
}

func (w *writer) stand(p *authz.Policy, raw []byte) {
	if old, ok := w.policies.get(p.Key()); ok && old.Unreadable() == "" {
		return
	}
	// A full proxy has said so already (putPolicy closes it); the error of the policy counts here.
	_ = w.putPolicy(p, resource{raw: raw})
}

func (w *writer) putPolicy(p *authz.Policy, res resource) error {
	old, known := w.policies.get(p.Key())
	switch {
	case !known && w.policies.size >= w.max:
		w.policiesComplete = false // a policy that is not held must not open anything
		return fmt.Errorf("add policy %q: %w", clip(p.Key()), errTooMany)
	case known && old.raw != nil && bytes.Equal(old.raw, res.raw):
		w.policies.set(w.batch, p.Key(), &policyRecord{old.Policy, res})
		return nil
	case known:
		w.unscope(old.Policy)
	}
	w.scope(p)
	w.policies.set(w.batch, p.Key(), &policyRecord{p, res})
	w.change.Policies = append(w.change.Policies, p.Key())
	return nil
}

func (w *writer) removePolicy(key string) {
	old, ok := w.policies.get(key)
	if !ok {
		return
	}
	w.unscope(old.Policy)
	w.policies.remove(w.batch, key)
	w.change.Policies = append(w.change.Policies, key)
}

// scope enters p where its scope says; the epoch makes workloads collect their policies anew.
func (w *writer) scope(p *authz.Policy) {
	w.policyEpoch++
	switch p.Scope() {
	case authz.Global:
		w.global = withPolicy(w.global, p)
	case authz.Namespace:
		list, _ := w.ofNamespace.get(p.Namespace())
		w.ofNamespace.set(w.batch, p.Namespace(), withPolicy(list, p))
	}
}

func (w *writer) unscope(p *authz.Policy) {
	w.policyEpoch++
	switch p.Scope() {
	case authz.Global:
		w.global = withoutPolicy(w.global, p)
	case authz.Namespace:
		list, _ := w.ofNamespace.get(p.Namespace())
		if list = withoutPolicy(list, p); len(list) == 0 {
			w.ofNamespace.remove(w.batch, p.Namespace())
			return
		}
		w.ofNamespace.set(w.batch, p.Namespace(), list)
	}
}

// withPolicy keeps the order of keys, so that of several refusals always the same one is named.
func withPolicy(list []*authz.Policy, p *authz.Policy) []*authz.Policy {
	i, _ := slices.BinarySearchFunc(list, p.Key(), func(x *authz.Policy, key string) int { return cmp.Compare(x.Key(), key) })
	return slices.Insert(slices.Clone(list), i, p)
}

func withoutPolicy(list []*authz.Policy, p *authz.Policy) []*authz.Policy {
	return slices.DeleteFunc(slices.Clone(list), func(x *authz.Policy) bool { return x == p })
}
