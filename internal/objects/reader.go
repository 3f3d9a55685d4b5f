package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// reader keeps a Directory's stores equal to its files. Only its own goroutine touches it.
type reader struct {
	d       *Directory
	files   map[string]*file
	claims  map[id]map[string]*claim // who says what about an object, by file
	held    map[id]*claim            // what is served
	twice   map[id]struct{}          // claimed by more than one file
	failure string                   // why the directory cannot be read, "" if it can
	notify  *fsnotify.Watcher
	watched string // the directory behind links that is being watched
}

type id struct {
	kind            Kind
	namespace, name string
}

func (i id) String() string { return string(i.kind) + " " + keyOf(i.namespace, i.name) }

func newReader(d *Directory) *reader {
	return &reader{d: d, files: map[string]*file{}, claims: map[id]map[string]*claim{}, held: map[id]*claim{},
		twice: map[id]struct{}{}}
}

func (r *reader) run(ctx context.Context) error {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch directory %s: %w", r.d.path, err)
	}
	defer notify.Close() // ends its goroutine; there is nothing to flush
	r.notify = notify
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
			next.Reset(r.look())
		case <-notify.Events:
			// One change makes several events: look once when they have come.
			next.Reset(min(r.d.opts.Settle, 10*time.Millisecond))
		case err := <-notify.Errors:
			r.d.opts.Log.Warn("lost notifications of the directory, looking again", "directory", r.d.path, "error", err)
			next.Reset(0)
		}
	}
}

// look brings the stores up to date and returns when to look again.
func (r *reader) look() time.Duration {
	r.watch()
	found, err := scan(r.d.path)
	if err == nil && len(found) > r.d.opts.Limits.Files {
		err = fmt.Errorf("read directory of %d files: %w (limit %d)", len(found), errTooMany, r.d.opts.Limits.Files)
	}
	if err != nil {
		r.fail(err.Error())
		return r.d.opts.Rescan
	}
	r.fail("")
	changed, again := r.load(found)
	if len(changed) > 0 {
		r.resolve(changed)
		r.publish()
	}
	if again {
		return r.d.opts.Settle
	}
	for _, s := range r.d.stores {
		s.markReady()
	}
	return r.d.opts.Rescan
}

// watch follows the directory behind the path, which may be a link that is swapped.
func (r *reader) watch() {
	target, err := filepath.EvalSymlinks(r.d.path)
	if err != nil || target == r.watched && slices.Contains(r.notify.WatchList(), target) {
		return
	}
	if r.watched != "" {
		if err := r.notify.Remove(r.watched); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
			r.d.opts.Log.Warn("unwatch directory", "directory", r.watched, "error", err)
		}
		r.watched = ""
	}
	if err := r.notify.Add(target); err != nil {
		r.d.opts.Log.Warn("watch directory; changes are seen only by looking", "directory", target, "error", err)
		return
	}
	r.watched = target
}

// fail notes that the directory as a whole cannot be read. Everything known stays in force.
func (r *reader) fail(why string) {
	if r.failure == why {
		return
	}
	r.failure = why
	if why != "" {
		r.d.opts.Log.Error("read directory; what is known stays in force", "directory", r.d.path, "error", why)
	}
	r.publish()
}

// load reads what changed and returns the objects about which a file says something else than before, and
// whether some file must be looked at again soon.
func (r *reader) load(found map[string]stamp) (changed map[id]struct{}, again bool) {
	changed = map[id]struct{}{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		st, old := found[name], r.files[name]
		if old != nil && old.stamp == st {
			continue
		}
		// A rename over a known name is complete; anything else may still be being written.
		replaced := old != nil && old.stamp.ino != st.ino
		if !replaced && !st.settled(r.d.opts.Now(), r.d.opts.Settle) {
			again = true
			continue
		}
		next, err := r.read(name, st, old)
		if err != nil {
			again = again || errors.Is(err, errMoving)
			continue
		}
		r.replace(name, old, next, changed)
	}
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		if _, ok := found[name]; !ok {
			r.replace(name, r.files[name], nil, changed)
		}
	}
	return changed, again
}

// read returns the file's new state, or an error if the file is not there or moves.
func (r *reader) read(name string, st stamp, old *file) (*file, error) {
	data, err := readFile(filepath.Join(r.d.path, name), st, r.d.opts.Limits.FileSize)
	if errors.Is(err, errMoving) || errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var docs []Document
	if err == nil {
		docs, err = Decode(data, r.d.opts.Limits)
	}
	next := newFile(name, st)
	if err != nil {
		next.refuse(Document{Err: err})
	}
	room := r.d.opts.Limits.Objects - len(r.held)
	for _, doc := range docs {
		next.add(doc, old, &room)
	}
	next.keep(old)
	for _, p := range next.problems {
		r.d.opts.Log.Error("refused", "file", p.File, "document", p.Document, "kind", p.Kind,
			"object", keyOf(p.Namespace, p.Name), "reason", p.Reason, "standing", p.Standing)
	}
	return next, nil
}

// replace puts a file's new claims in place of its old ones. next is nil when the file is gone.
func (r *reader) replace(name string, old, next *file, changed map[id]struct{}) {
	if old != nil {
		for i := range old.claims {
			delete(r.claims[i], name)
			changed[i] = struct{}{}
		}
	}
	if next == nil {
		delete(r.files, name)
		return
	}
	r.files[name] = next
	for i, c := range next.claims {
		if r.claims[i] == nil {
			r.claims[i] = map[string]*claim{}
		}
		r.claims[i][name] = c
		changed[i] = struct{}{}
	}
	if len(next.claims) == 0 {
		changed[id{}] = struct{}{} // only problems changed
	}
}

// resolve serves what the claims say. Additions come first, so that an object that moves from one file
// to another is never absent.
func (r *reader) resolve(changed map[id]struct{}) {
	var gone []id
	for i := range changed {
		if i == (id{}) {
			continue
		}
		delete(r.twice, i)
		if len(r.claims[i]) > 1 {
			r.twice[i] = struct{}{}
		}
		c := r.winner(i)
		if c == nil {
			gone = append(gone, i)
			delete(r.claims, i)
			continue
		}
		if have := r.held[i]; have == nil || have.hash != c.hash {
			r.d.stores[i.kind].set(keyOf(i.namespace, i.name), c.object())
		}
		r.held[i] = c
	}
	for _, i := range gone {
		r.d.stores[i.kind].remove(keyOf(i.namespace, i.name))
		delete(r.held, i)
	}
}

// winner returns the claim to serve: that of the file which already holds the object, else of the first by name.
func (r *reader) winner(i id) *claim {
	claims := r.claims[i]
	if have := r.held[i]; have != nil {
		if c, ok := claims[have.file]; ok {
			return c
		}
	}
	names := slices.Sorted(maps.Keys(claims))
	if len(names) == 0 {
		return nil
	}
	return claims[names[0]]
}
