package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// entries is a list in a status that many controllers share: an entry is its controller's alone.
type entries struct {
	list, ref string
	most      int // Gateway API: a full list takes no more
}

var (
	parentEntries   = entries{"parents", "parentRef", 32}
	ancestorEntries = entries{"ancestors", "ancestorRef", 16}
)

// entry is what one of ours says of whom.
type entry struct {
	ref map[string]any // as it is written
	key reference      // the same, to compare
	verdict
}

// enter makes an object's entries of ours these, one of each key, and leaves all others as they are.
func (l *look) enter(ctx context.Context, x object, e entries, want []entry) {
	left := map[reference]entry{}
	for _, w := range want {
		if _, twice := left[w.key]; !twice {
			left[w.key] = w
		}
	}
	have, _, err := unstructured.NestedSlice(x.Object, "status", e.list)
	if err != nil {
		have = nil
	}
	all, changed := make([]any, 0, len(have)+len(left)), false // never null, which would remove the list
	for _, old := range have {
		m, ok := old.(map[string]any)
		if !ok || m["controllerName"] != GatewayController {
			all = append(all, old)
			continue
		}
		ref, _ := m[e.ref].(map[string]any)
		w, wanted := left[referenceIn(ref, gatewayIn(x.GetNamespace()))]
		if !wanted { // whom it speaks of is not ours, or no more; or it stands twice
			changed = true
			continue
		}
		delete(left, w.key)
		changed = l.renew(m, w, x.GetGeneration()) || changed
		all = append(all, m)
	}
	for _, w := range want {
		if _, missing := left[w.key]; !missing || len(all) >= e.most {
			continue
		}
		delete(left, w.key)
		m := map[string]any{e.ref: w.ref, "controllerName": GatewayController}
		changed = l.renew(m, w, x.GetGeneration()) || changed
		all = append(all, m)
	}
	if changed {
		l.write(ctx, x, e.list, all)
	}
}

// renew makes an entry say the verdict.
func (l *look) renew(m map[string]any, w entry, generation int64) (changed bool) {
	have, _ := m["conditions"].([]any)
	m["conditions"], changed = merge(have, "Accepted", w.verdict, generation, l.Now())
	return changed
}
