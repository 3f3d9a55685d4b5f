package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// conditionsOf are an object's conditions; none if it has something that is no list.
func conditionsOf(obj *unstructured.Unstructured) []any {
	have, _, err := unstructured.NestedSlice(obj.Object, "status", "conditions")
	if err != nil {
		return nil
	}
	return have
}

// patch writes a whole list of an object's status; one that is gone needs none. The version goes with it, so
// that nobody's part is lost: whoever writes in between makes this a conflict.
func patch(ctx context.Context, client dynamic.ResourceInterface, got *unstructured.Unstructured, field string, list []any) error {
	text, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": got.GetResourceVersion()},
		"status":   map[string]any{field: list},
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = client.Patch(ctx, got.GetName(), types.MergePatchType, text, metav1.PatchOptions{FieldManager: "ambit-controller"}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// merge returns all conditions with ours, of this kind, in its place, and whether that differs from what
// there is.
func merge(have []any, kind string, v verdict, generation int64, now time.Time) (all []any, changed bool) {
	ours := map[string]any{"type": kind, "status": v.status, "reason": v.reason, "message": v.message,
		"lastTransitionTime": now.UTC().Format(time.RFC3339), "observedGeneration": generation}
	found := false
	for _, x := range have {
		old, ok := x.(map[string]any)
		if !ok || old["type"] != kind {
			all = append(all, x)
			continue
		}
		if found { // twice: one is enough
			changed = true
			continue
		}
		found = true
		if old["status"] == v.status && old["lastTransitionTime"] != nil {
			ours["lastTransitionTime"] = old["lastTransitionTime"]
		}
		changed = old["status"] != v.status || old["reason"] != v.reason || old["message"] != v.message || number(old["observedGeneration"]) != generation
		all = append(all, ours)
	}
	if !found {
		return append(all, ours), true
	}
	return all, changed
}

// number reads an integer as JSON has it: Istio's own encoder writes it as a string.
func number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	case string:
		var i int64
		if _, err := fmt.Sscan(n, &i); err == nil {
			return i
		}
	}
	return 0
}
