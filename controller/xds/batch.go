package xds

import (
	"container/list"
	"slices"
)

// batch is what one response says, and how far it goes.
type batch struct {
	resources []Resource
	removed   []string
	system    string
	to        uint64 // all changes of the type up to here are in this and earlier batches
}

func (b *batch) empty() bool { return len(b.resources)+len(b.removed) == 0 }

// interest is which names a stream wants; nil for all.
type interest map[string]struct{}

func (i interest) has(name string) bool {
	if i == nil {
		return true
	}
	_, ok := i[name]
	return ok
}

// attach registers a stream, which has been told nothing yet.
func (c *Cache) attach(typeURL string) *cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	cur := &cursor{}
	c.table(typeURL).cursors[cur] = struct{}{}
	return cur
}

func (c *Cache) detach(typeURL string, cur *cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.table(typeURL).cursors, cur)
}

// first returns the difference between what there is and what the proxy has, and moves the cursor to the
// present. Names that are wanted one by one and do not exist count as removed.
func (c *Cache) first(typeURL string, cur *cursor, has map[string]string, want interest) batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table(typeURL)
	b := batch{system: c.system.String(), to: t.head}
	for el := t.live.Front(); el != nil; el = el.Next() {
		e := entryOf(el)
		if v, ok := has[e.Name]; want.has(e.Name) && (!ok || v == "" || v != e.Version) {
			b.resources = append(b.resources, e.Resource)
		}
	}
	for name := range has {
		if !t.lives(name) {
			b.removed = append(b.removed, name)
		}
	}
	for name := range want {
		if _, had := has[name]; !had && !t.lives(name) {
			b.removed = append(b.removed, name)
		}
	}
	slices.Sort(b.removed)
	cur.up, cur.down = t.head, t.head
	return b
}

func (t *table) lives(name string) bool {
	el := t.byName[name]
	return el != nil && !entryOf(el).gone
}

// news reports whether something was added or changed since the cursor.
func (c *Cache) news(typeURL string, cur *cursor) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	back := c.table(typeURL).live.Back()
	return back != nil && entryOf(back).seq > cur.up
}

// unsent reports whether anything happened since the cursor, removals included.
func (c *Cache) unsent(typeURL string, cur *cursor) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table(typeURL)
	live, gone := t.live.Back(), t.gone.Back()
	return live != nil && entryOf(live).seq > cur.up || gone != nil && entryOf(gone).seq > cur.down
}

// next returns what changed since the cursor, of removals only those up to removeTo, and moves the cursor.
// The oldest changes come first; what would make more than limit bytes is left for the next batch.
func (c *Cache) next(typeURL string, cur *cursor, want interest, removeTo uint64, limit int) batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table(typeURL)
	b := batch{system: c.system.String()}
	up, size := t.head, 0
	for _, e := range after(t.live, cur.up) {
		if !want.has(e.Name) {
			continue
		}
		size += e.size()
		if size > limit && len(b.resources) > 0 {
			up = e.seq - 1
			break
		}
		b.resources = append(b.resources, e.Resource)
	}
	down := min(t.head, removeTo)
	for _, e := range after(t.gone, cur.down) {
		if e.seq <= down && want.has(e.Name) {
			b.removed = append(b.removed, e.Name)
		}
	}
	cur.up, cur.down = max(cur.up, up), max(cur.down, down)
	b.to = min(cur.up, cur.down)
	return b
}

func after(l *list.List, seq uint64) []*entry {
	var out []*entry
	for el := l.Back(); el != nil && entryOf(el).seq > seq; el = el.Prev() {
		out = append(out, entryOf(el))
	}
	slices.Reverse(out)
	return out
}

// size is about what the resource takes on the wire, in bytes.
func (e *entry) size() int { return len(e.Body.GetValue()) + 2*len(e.Name) + 128 }

// named returns the current state of single names, for a stream that has begun to want them.
func (c *Cache) named(typeURL string, names interest) batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table(typeURL)
	b := batch{system: c.system.String()}
	for name := range names {
		if t.lives(name) {
			b.resources = append(b.resources, entryOf(t.byName[name]).Resource)
		} else {
			b.removed = append(b.removed, name)
		}
	}
	return b
}
