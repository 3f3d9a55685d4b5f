package authz

import (
	"strings"

	"github.com/ambitmesh/ambit/internal/identity"
)

// index finds the policies of one action that can match a flow, by where they stand in the Set's list.
type index struct {
	all         []int // of that action
	anybody     []int // that may match any source
	principals  map[identity.ID][]int
	accounts    map[account][]int
	inNamespace map[string][]int
}

// add takes in the i-th policy. Positions rise.
func (x *index) add(i int, p *Policy) {
	x.all = append(x.all, i)
	who, ok := p.sources()
	if !ok {
		x.anybody = append(x.anybody, i)
		return
	}
	for id := range who.principals {
		put(&x.principals, id, i)
	}
	for a := range who.accounts {
		put(&x.accounts, a, i)
	}
	for ns := range who.namespaces {
		put(&x.inNamespace, ns, i)
	}
}

func put[K comparable](m *map[K][]int, k K, i int) {
	if *m == nil {
		*m = map[K][]int{}
	}
	(*m)[k] = append((*m)[k], i)
}

// first returns the first policy that matches, and the rule by which it does.
func (x *index) first(policies []*Policy, f *Flow) (*Policy, *rule) {
	lists := [4][]int{x.anybody}
	switch {
	case f.Source.IsZero():
	case odd(f.Source):
		lists[0] = x.all
	default:
		lists[1], lists[2], lists[3] = x.principals[f.Source], x.accounts[accountIn(f.Source)], x.inNamespace[f.Source.Namespace]
	}
	for {
		i := lowest(&lists)
		if i < 0 {
			return nil, nil
		}
		if r, ok := policies[i].match(f); ok {
			return policies[i], r
		}
	}
}

// lowest takes the lowest position out of all lists, -1 if they are empty.
func lowest(lists *[4][]int) int {
	low := -1
	for _, l := range lists {
		if len(l) > 0 && (low < 0 || l[0] < low) {
			low = l[0]
		}
	}
	for n, l := range lists {
		if len(l) > 0 && l[0] == low {
			lists[n] = l[1:]
		}
	}
	return low
}

// odd says that an identity, put together as a principal, could be taken for another one's.
func odd(id identity.ID) bool {
	return strings.Contains(id.TrustDomain, "/") || strings.Contains(id.Namespace, "/") || strings.Contains(id.ServiceAccount, "/")
}
