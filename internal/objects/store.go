package objects

import (
	"slices"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// history is how many events a kind keeps for watches that start late or are slow, and keepFor how long: each
// holds an object, and where there is always a change they would fill memory for hours. An older watch lists again.
const (
	history = 1024
	keepFor = time.Minute
)

// store holds one kind's objects and the latest changes to them.
type store struct {
	now func() time.Time

	mu         sync.Mutex
	ready      bool // the source was read once
	readyCh    chan struct{}
	generation uint64
	objects    map[string]Object
	events     []event       // the last ones, oldest first
	changed    chan struct{} // closed at each change
}

type event struct {
	generation uint64
	at         time.Time
	watch.Event
}

func newStore(first uint64, now func() time.Time) *store {
	return &store{now: now, generation: first, objects: map[string]Object{}, readyCh: make(chan struct{}), changed: make(chan struct{})}
}

// set adds or replaces an object and stamps it with the new generation. The caller gives obj away.
func (s *store) set(key string, obj Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := watch.Modified
	if _, ok := s.objects[key]; !ok {
		kind = watch.Added
	}
	s.generation++
	obj.SetResourceVersion(strconv.FormatUint(s.generation, 10))
	s.objects[key] = obj
	s.record(kind, obj)
}

// remove deletes an object if there is one.
func (s *store) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj, ok := s.objects[key]
	if !ok {
		return
	}
	delete(s.objects, key)
	s.generation++
	last, ok := obj.DeepCopyObject().(Object) // watchers hold the old one: its version must not change
	if !ok {
		last = obj
	} else {
		last.SetResourceVersion(strconv.FormatUint(s.generation, 10))
	}
	s.record(watch.Deleted, last)
}

func (s *store) record(kind watch.EventType, obj runtime.Object) {
	now := s.now()
	if old := s.expired(now); old > len(s.events)/2 { // half of them at once: a change costs the change
		s.events = slices.Clone(s.events[old:])
	}
	s.events = append(s.events, event{generation: s.generation, at: now, Event: watch.Event{Type: kind, Object: obj}})
	close(s.changed)
	s.changed = make(chan struct{})
}

// expired is how many of the oldest events need not be kept. The caller holds mu.
func (s *store) expired(now time.Time) int {
	old, _ := slices.BinarySearchFunc(s.events, now.Add(-keepFor), func(e event, limit time.Time) int { return e.at.Compare(limit) })
	if n := len(s.events); n >= 2*history {
		old = max(old, n-history+1)
	}
	return old
}

// markReady lets lists be answered: before, an empty list would mean "there is nothing".
func (s *store) markReady() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		s.ready = true
		close(s.readyCh)
	}
}

func (s *store) list() *metav1.List {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &metav1.List{Items: make([]runtime.RawExtension, 0, len(s.objects))}
	l.ResourceVersion = strconv.FormatUint(s.generation, 10)
	for _, o := range s.objects {
		l.Items = append(l.Items, runtime.RawExtension{Object: o})
	}
	return l
}

// since returns the events after generation and a channel that is closed at the next one. It reports
// false if some of them are no longer held.
func (s *store) since(generation uint64) ([]event, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation > s.generation {
		return nil, nil, false
	}
	oldest := s.generation - uint64(len(s.events)) // each event raises the generation by one
	if generation < oldest {
		return nil, nil, false
	}
	return slices.Clone(s.events[generation-oldest:]), s.changed, true
}

func (s *store) current() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}
