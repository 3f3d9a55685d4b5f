package xds

import (
	"container/list"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Resource is one version of a resource. It is shared: never change one.
type Resource struct {
	Name    string
	Version string // of the content
	Body    *anypb.Any
}

// NewResource packs a message. Its version is a hash of the content, so the same content has the same
// version in every controller.
func NewResource(name string, m proto.Message) (Resource, error) {
	body := &anypb.Any{}
	if err := anypb.MarshalFrom(body, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return Resource{}, fmt.Errorf("pack resource %s: %w", name, err)
	}
	sum := sha256.Sum256(body.GetValue())
	return Resource{Name: name, Version: base64.RawURLEncoding.EncodeToString(sum[:15]), Body: body}, nil
}

// Change is what changed of one type.
type Change struct {
	TypeURL string
	Upsert  []Resource
	Remove  []string
}

// Cache holds the current resources of each type and the order in which they changed. It answers
// nothing before the first Apply: an empty answer would mean "there is nothing".
type Cache struct {
	mu      sync.Mutex
	seq     uint64 // of the last change of any type
	tables  map[string]*table
	system  Versions
	reached Versions // nil: as system
	ready   bool
	changed chan struct{} // closed at the next Apply
}

// table is one type. Each name stands once, in live or in gone, each in the order of change.
type table struct {
	byName     map[string]*list.Element // of *entry, in either list
	live, gone *list.List
	head       uint64 // seq of the last change
	cursors    map[*cursor]struct{}
}

type entry struct {
	Resource
	seq  uint64
	gone bool
}

// cursor is how far a stream has been told of a type. Guarded by the cache's lock.
type cursor struct{ up, down uint64 }

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{tables: map[string]*table{}, changed: make(chan struct{})}
}

// Apply takes over changes made from objects of the given versions, all at once. A resource whose
// version is the current one is not a change. It returns the position of the last change of addresses,
// for Captures.Applied. system and the changes are kept.
func (c *Cache) Apply(system Versions, changes ...Change) (position uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range changes {
		t := c.table(ch.TypeURL)
		for _, name := range ch.Remove {
			c.remove(t, name)
		}
		for _, r := range ch.Upsert {
			c.upsert(t, r)
		}
		t.prune()
	}
	c.system, c.ready = system, true
	close(c.changed)
	c.changed = make(chan struct{})
	return c.table(AddressType).head
}

func (c *Cache) table(typeURL string) *table {
	t := c.tables[typeURL]
	if t == nil {
		t = &table{byName: map[string]*list.Element{}, live: list.New(), gone: list.New(), cursors: map[*cursor]struct{}{}}
		c.tables[typeURL] = t
	}
	return t
}

func (c *Cache) upsert(t *table, r Resource) {
	old := t.byName[r.Name]
	if old != nil {
		e, l := t.at(old)
		if !e.gone && e.Version == r.Version {
			return
		}
		l.Remove(old)
	}
	c.seq++
	t.head = c.seq
	t.byName[r.Name] = t.live.PushBack(&entry{Resource: r, seq: c.seq})
}

func (c *Cache) remove(t *table, name string) {
	old := t.byName[name]
	if old == nil {
		return
	}
	e, l := t.at(old)
	if e.gone {
		return
	}
	l.Remove(old)
	c.seq++
	t.head = c.seq
	t.byName[name] = t.gone.PushBack(&entry{Resource: Resource{Name: name}, seq: c.seq, gone: true})
}

func (t *table) at(el *list.Element) (*entry, *list.List) {
	e := entryOf(el)
	if e.gone {
		return e, t.gone
	}
	return e, t.live
}

func entryOf(el *list.Element) *entry {
	e, _ := el.Value.(*entry)
	return e
}

// prune forgets removals of which every stream has been told.
func (t *table) prune() {
	told := uint64(math.MaxUint64)
	for cur := range t.cursors {
		told = min(told, cur.down)
	}
	for el := t.gone.Front(); el != nil && entryOf(el).seq <= told; el = t.gone.Front() {
		delete(t.byName, entryOf(el).Name)
		t.gone.Remove(el)
	}
}

// Changed returns a channel that is closed at the next Apply. Take it before looking.
func (c *Cache) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Ready reports whether there was an Apply.
func (c *Cache) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// Versions returns those of the last Apply. The caller must not change them.
func (c *Cache) Versions() Versions {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.system
}

// Len returns how many resources of a type there are.
func (c *Cache) Len(typeURL string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table(typeURL).live.Len()
}

// Reach says that the state of the next Apply is as of these versions too, though nothing came of them:
// by them it is judged whether this controller is behind. The caller must not change them.
func (c *Cache) Reach(v Versions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reached = v
}

// behind reports whether a proxy has seen a later state.
func (c *Cache) behind(seen Versions) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reached != nil {
		return c.reached.Behind(seen)
	}
	return c.system.Behind(seen)
}
