package translate

import (
	"maps"
	"slices"
)

// label is one pair within a namespace; namespace "" stands for all of them.
type label struct{ namespace, key, value string }

// labelled finds objects by the labels they have: what a selector means.
type labelled struct {
	byLabel multimap[label, key]
	all     multimap[string, key] // by namespace, and all under ""
}

func newLabelled() labelled {
	return labelled{multimap[label, key]{}, multimap[string, key]{}}
}

func (l labelled) add(k key, labels map[string]string) {
	l.all.add(k.namespace, k)
	l.all.add("", k)
	for name, value := range labels {
		l.byLabel.add(label{k.namespace, name, value}, k)
		l.byLabel.add(label{"", name, value}, k)
	}
}

func (l labelled) remove(k key, labels map[string]string) {
	l.all.remove(k.namespace, k)
	l.all.remove("", k)
	for name, value := range labels {
		l.byLabel.remove(label{k.namespace, name, value}, k)
		l.byLabel.remove(label{"", name, value}, k)
	}
}

// candidates returns the smallest set that is known to hold all that the selector means; the caller
// must not change it. An empty selector means all.
func (l labelled) candidates(namespace string, selector map[string]string) set[key] {
	best := l.all[namespace]
	for name, value := range selector {
		if s := l.byLabel[label{namespace, name, value}]; len(s) < len(best) {
			best = s
		}
	}
	return best
}

// selectors finds selectors by the labels that they match: each is filed under one of its pairs, so
// that an object's labels lead to all of them.
type selectors multimap[label, key]

// anchor is the pair that a selector is filed under.
func anchor(namespace string, selector map[string]string) label {
	first := slices.Min(slices.Collect(maps.Keys(selector)))
	return label{namespace, first, selector[first]}
}

func (s selectors) add(k key, selector map[string]string) {
	if len(selector) > 0 {
		multimap[label, key](s).add(anchor(k.namespace, selector), k)
	}
}

func (s selectors) remove(k key, selector map[string]string) {
	if len(selector) > 0 {
		multimap[label, key](s).remove(anchor(k.namespace, selector), k)
	}
}

// candidates calls f with every selector of the namespace that may match the labels.
func (s selectors) candidates(namespace string, labels map[string]string, f func(key)) {
	for name, value := range labels {
		for k := range s[label{namespace, name, value}] {
			f(k)
		}
	}
}
