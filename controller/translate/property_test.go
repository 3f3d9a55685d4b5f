package translate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambitmesh/ambit/internal/objects"
)

// TestIncrementalEqualsScratch applies random changes and compares, again and again, with a mesh that
// is made of the same objects at once, and with what a reader of Changes holds.
func TestIncrementalEqualsScratch(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 30 {
				for range 1 + w.rand.IntN(6) {
					w.step()
				}
				w.compare()
				if t.Failed() {
					return
				}
			}
		})
	}
}

// world is a mesh under change and all that is needed to make its like.
type world struct {
	t        *testing.T
	rand     *rand.Rand
	mesh     *Mesh
	log      []string
	held     map[resourceKey]string   // by a reader of Changes: versions
	objects  map[Ref][]objects.Object // the last good version, if it counts, and the current one
	captured map[[2]string]bool       // node, uid
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), mesh: NewMesh(Options{}), held: map[resourceKey]string{},
		objects: map[Ref][]objects.Object{}, captured: map[[2]string]bool{}}
}

func (w *world) pick(choices ...string) string { return choices[w.rand.IntN(len(choices))] }

func (w *world) step() {
	switch n := w.rand.IntN(20); {
	case n == 0:
		c := [2]string{w.pick("n1", "n2"), "Kubernetes//Pod/" + w.pick("a", "b", "ambit-system") + "/" + w.pick("p1", "p2", "p3")}
		w.captured[c] = !w.captured[c]
		w.mesh.SetCaptured(c[0], c[1], w.captured[c])
	case n < 5:
		w.remove()
	default:
		w.set(w.random())
	}
}

func (w *world) remove() {
	refs := slices.SortedFunc(maps.Keys(w.objects), compareRefs)
	if len(refs) == 0 {
		return
	}
	r := refs[w.rand.IntN(len(refs))]
	w.log = append(w.log, "delete "+r.String())
	delete(w.objects, r)
	w.mesh.Delete(r)
}

func (w *world) set(yaml string) {
	docs, err := objects.Decode([]byte(yaml), objects.Limits{})
	if err != nil || len(docs) != 1 {
		w.t.Fatalf("decode %s: %v", yaml, err)
	}
	obj := docs[0].Object
	if obj == nil {
		if obj = docs[0].StandIn; obj == nil {
			w.t.Fatalf("decode %s: %v", yaml, docs[0].Err)
		}
	}
	w.log = append(w.log, "set "+yaml)
	r := Ref{docs[0].Kind, obj.GetNamespace(), obj.GetName()}
	versions := w.objects[r]
	if w.good(r, obj) {
		versions = nil
	} else if len(versions) > 1 || len(versions) == 1 && !w.good(r, versions[0]) {
		versions = versions[:len(versions)-1] // of bad versions only the last one counts
	}
	w.objects[r] = append(slices.Clone(versions), obj)
	if err := w.mesh.Set(obj); err != nil {
		w.t.Fatal(err)
	}
}

// good reports whether an object, alone, is understood.
func (w *world) good(r Ref, obj objects.Object) bool {
	m := NewMesh(Options{})
	if err := m.Set(obj); err != nil {
		w.t.Fatal(err)
	}
	if _, err := m.Changes(); err != nil {
		w.t.Fatal(err)
	}
	st, ok := m.status[r]
	return !ok || st.Accepted
}

func (w *world) scratch() *Mesh {
	m := NewMesh(Options{})
	refs := slices.Collect(maps.Keys(w.objects))
	w.rand.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
	for _, r := range refs {
		for _, obj := range w.objects[r] {
			if err := m.Set(obj); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for c, on := range w.captured {
		m.SetCaptured(c[0], c[1], on)
	}
	return m
}

func (w *world) compare() {
	w.t.Helper()
	changes, err := w.mesh.Changes()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range changes {
		if c.Resource == nil {
			delete(w.held, resourceKey{c.Type, c.Name})
		} else {
			w.held[resourceKey{c.Type, c.Name}] = c.Resource.Version
		}
	}
	m := w.scratch()
	if _, err := m.Changes(); err != nil {
		w.t.Fatal(err)
	}
	w.same("resources", versions(m), versions(w.mesh))
	w.same("what Changes told", versions(m), w.held)
	w.same("statuses", m.Statuses(), w.mesh.Statuses())
	for _, node := range []string{"n1", "n2"} {
		w.same("identities", m.RunsOn(node), w.mesh.RunsOn(node))
	}
}

func (w *world) same(what string, want, got any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(resourceKey{})); diff != "" {
		w.t.Errorf("%s (-from scratch +incremental):\n%s\nafter:\n%s", what, diff, strings.Join(w.log, "\n"))
	}
}

func versions(m *Mesh) map[resourceKey]string {
	out := map[resourceKey]string{}
	for k, r := range m.out.current {
		out[k] = r.Version
	}
	return out
}
