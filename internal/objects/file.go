package objects

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// file is what one file said when it was last read.
type file struct {
	name     string
	stamp    stamp
	claims   map[id]*claim
	problems []Problem
	blind    bool // something was refused of which not even the name is known
}

// claim is one file's version of an object.
type claim struct {
	file    string
	doc     int
	obj     Object
	hash    [32]byte
	standIn bool
}

// object returns a copy to give away: the store stamps it.
func (c *claim) object() Object {
	if o, ok := c.obj.DeepCopyObject().(Object); ok {
		return o
	}
	return c.obj
}

func newFile(name string, st stamp) *file {
	return &file{name: name, stamp: st, claims: map[id]*claim{}}
}

func (f *file) add(doc Document, old *file, room *int) {
	i := id{doc.Kind, doc.Namespace, doc.Name}
	if first, ok := f.claims[i]; ok && doc.Name != "" {
		doc.Err = fmt.Errorf("%s is also in document %d of this file", i, first.doc)
		f.refuse(doc)
		f.problems[len(f.problems)-1].Standing = "previous"
		return
	}
	if doc.Err == nil && *room <= 0 && (old == nil || old.claims[i] == nil) {
		doc.Err, doc.Name = fmt.Errorf("%w objects in the directory", errTooMany), ""
	}
	if doc.Err == nil {
		*room--
		f.claims[i] = &claim{file: f.name, doc: doc.Number, obj: doc.Object, hash: doc.hash}
		return
	}
	f.refuse(doc)
	p := &f.problems[len(f.problems)-1]
	switch {
	case doc.Name == "":
	case old != nil && old.claims[i] != nil && !old.claims[i].standIn:
		f.claims[i], p.Standing = old.claims[i], "previous"
	case doc.StandIn != nil:
		f.claims[i] = &claim{file: f.name, doc: doc.Number, obj: doc.StandIn, hash: doc.hash, standIn: true}
		p.Standing = "closed"
	}
}

func (f *file) refuse(doc Document) {
	f.blind = f.blind || doc.Name == ""
	f.problems = append(f.problems, Problem{File: f.name, Document: doc.Number, Kind: doc.Kind,
		Namespace: doc.Namespace, Name: doc.Name, Reason: oneLine(doc.Err)})
}

// keep leaves in force what the file said before about objects of which it now says nothing, if it holds
// something that could not be read: that may be them.
func (f *file) keep(old *file) {
	if old == nil || !f.blind {
		return
	}
	kept := false
	for i, c := range old.claims {
		if f.claims[i] == nil {
			f.claims[i], kept = c, true
		}
	}
	for p := range f.problems {
		if kept && f.problems[p].Name == "" {
			f.problems[p].Standing = "previous"
		}
	}
}

func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// publish makes the problems of the directory, its files and of duplicates visible.
func (r *reader) publish() {
	var all []Problem
	if r.failure != "" {
		all = append(all, Problem{File: r.d.path, Reason: r.failure, Standing: "previous"})
	}
	for _, f := range r.files {
		all = append(all, f.problems...)
	}
	for i := range r.twice {
		all = append(all, r.duplicates(i, r.claims[i])...)
	}
	slices.SortFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Document, b.Document), cmp.Compare(a.Reason, b.Reason))
	})
	r.d.mu.Lock()
	r.d.problems = all
	r.d.mu.Unlock()
}

func (r *reader) duplicates(i id, claims map[string]*claim) []Problem {
	held := r.held[i]
	var all []Problem
	for name, c := range claims {
		if held == nil || name == held.file {
			continue
		}
		all = append(all, Problem{File: name, Document: c.doc, Kind: i.kind, Namespace: i.namespace, Name: i.name,
			Reason: fmt.Sprintf("%s is also in %s, which stands", i, held.file), Standing: "previous"})
	}
	return all
}
