package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/ambitmesh/ambit/manifests/kustomize"
)

const namespace = "ambit-system"

// check reads every document as the API server would, strictly, and holds it to the rules of the house.
func check(text string) error {
	read := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
	var errs []error
	seen := map[string]bool{}
	for _, doc := range documents(text) {
		obj, kind, err := read.Decode([]byte(doc), nil, nil)
		if err != nil {
			errs = append(errs, fmt.Errorf("decode document: %w", err))
			continue
		}
		meta, ok := obj.(metav1.Object)
		if !ok {
			errs = append(errs, fmt.Errorf("%s has no metadata", kind))
			continue
		}
		name := kind.Kind + " " + meta.GetName()
		if seen[name] {
			errs = append(errs, fmt.Errorf("%s stands twice", name))
		}
		seen[name] = true
		for _, err := range append(checkMeta(meta), checkObject(obj)...) {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

var separator = regexp.MustCompile(`(?m)^---\s*$`)

// documents are the parts of a YAML stream that are more than comments.
func documents(text string) []string {
	return slices.DeleteFunc(separator.Split(text, -1), func(doc string) bool {
		return !slices.ContainsFunc(strings.Split(doc, "\n"), func(line string) bool {
			return strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#")
		})
	})
}

func checkMeta(m metav1.Object) (errs []error) {
	if m.GetLabels()["app.kubernetes.io/part-of"] != "ambit" {
		errs = append(errs, errors.New("label app.kubernetes.io/part-of: ambit is missing"))
	}
	if m.GetLabels()[kustomize.VersionLabel] == "" {
		errs = append(errs, fmt.Errorf("label %s is missing", kustomize.VersionLabel))
	}
	if ns := m.GetNamespace(); ns != "" && ns != namespace {
		errs = append(errs, fmt.Errorf("is in namespace %s", ns))
	}
	return errs
}

func checkObject(obj runtime.Object) []error {
	switch x := obj.(type) {
	case *appsv1.DaemonSet:
		return checkPod(x.Spec.Template)
	case *appsv1.Deployment:
		return checkPod(x.Spec.Template)
	case *rbacv1.ClusterRole:
		return append(checkRules(x.Rules), checkSecrets(x.Rules)...)
	case *rbacv1.Role:
		return checkRules(x.Rules)
	case *corev1.Secret, *corev1.ConfigMap:
		return []error{errors.New("state of the mesh: applying the manifests again would change it back")}
	}
	return nil
}

func checkRules(rules []rbacv1.PolicyRule) (errs []error) {
	for _, r := range rules {
		if all := slices.Concat(r.APIGroups, r.Resources, r.Verbs); slices.Contains(all, "*") {
			errs = append(errs, fmt.Errorf("rule %v has a wildcard", all))
		}
		for _, v := range []string{"escalate", "bind", "impersonate"} {
			if slices.Contains(r.Verbs, v) {
				errs = append(errs, fmt.Errorf("verb %s", v))
			}
		}
	}
	return errs
}

func checkSecrets(rules []rbacv1.PolicyRule) (errs []error) {
	for _, r := range rules {
		if slices.Contains(r.Resources, "secrets") {
			errs = append(errs, errors.New("reaches secrets of every namespace"))
		}
	}
	return errs
}

func checkPod(t corev1.PodTemplateSpec) (errs []error) {
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(t.Labels["istio.io/dataplane-mode"] == "none", "its pods could be enrolled")
	need(t.Spec.PriorityClassName != "", "no priority")
	need(t.Annotations["prometheus.io/scrape"] == "true", "is not scraped")
	for _, c := range t.Spec.Containers {
		s := cmp.Or(c.SecurityContext, &corev1.SecurityContext{})
		need(c.ReadinessProbe != nil, "no readiness probe")
		need(!c.Resources.Requests.Cpu().IsZero() && !c.Resources.Requests.Memory().IsZero(), "no requests")
		need(s.Privileged == nil || !*s.Privileged, "is privileged")
		need(s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem, "may write to its image")
		need(s.Capabilities != nil && slices.Contains(s.Capabilities.Drop, "ALL"), "keeps default capabilities")
		need(s.SeccompProfile != nil || t.Spec.SecurityContext != nil && t.Spec.SecurityContext.SeccompProfile != nil, "no seccomp profile")
		for _, p := range c.Ports {
			need(p.Protocol != "", "port "+p.Name+" has no protocol: a second server-side apply would not be a no-op")
		}
	}
	return errs
}
