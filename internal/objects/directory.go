package objects

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
)

// Options configure a Directory. The zero value is usable.
type Options struct {
	Log   *slog.Logger     // nil: discard
	Now   func() time.Time // nil: time.Now
	Epoch uint32           // the high half of generations: a restarted process that must never go back gives a higher one

	Settle time.Duration // how long a file must be unchanged before it is read; 0: 50 ms
	Rescan time.Duration // how often to look although nothing was notified; 0: 2 s
	Limits Limits
}

// Limits bound what a directory can make a process hold.
type Limits struct {
	Files     int   // 0: 10,000
	FileSize  int64 // bytes; 0: 16 MiB
	Documents int   // of one file; 0: 10,000
	Document  int   // bytes; 0: 1.5 MiB, as the API server's store
	Objects   int   // 0: 200,000
}

func (l *Limits) fill() {
	set(&l.Files, 10_000)
	set(&l.FileSize, 16<<20)
	set(&l.Documents, 10_000)
	set(&l.Document, 3<<19)
	set(&l.Objects, 200_000)
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Directory serves the *.yaml, *.yml and *.json files of one directory (not of those below it), each
// with any number of documents. It is a Source.
//
// Files are best replaced by rename; a file written in place is read once it has settled. Hidden
// files and editors' temporary files are passed over, symbolic links are followed. A document that is refused
// leaves its object's previous version in force. An object in two files is refused in the later one.
type Directory struct {
	path   string
	opts   Options
	stores map[Kind]*store
	done   chan struct{} // closed when Run ends

	mu       sync.Mutex
	problems []Problem
}

var _ Source = (*Directory)(nil)

// NewDirectory returns a source that reads nothing until Run. The directory need not exist yet.
func NewDirectory(path string, opts Options) *Directory {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	set(&opts.Settle, 50*time.Millisecond)
	set(&opts.Rescan, 2*time.Second)
	opts.Limits.fill()
	d := &Directory{path: path, opts: opts, stores: map[Kind]*store{}, done: make(chan struct{})}
	for k := range registry {
		d.stores[k] = newStore(uint64(opts.Epoch)<<32, opts.Now)
	}
	return d
}

// ListerWatcher returns the kind's list and watch calls.
func (d *Directory) ListerWatcher(kind Kind) (cache.ListerWatcher, error) {
	s, ok := d.stores[kind]
	if !ok {
		return nil, fmt.Errorf("directory %s: unknown kind %q", d.path, kind)
	}
	return &listWatch{store: s, done: d.done}, nil
}

// Generation returns the version of the kind's last change. It never falls, and starts at Epoch<<32.
func (d *Directory) Generation(kind Kind) uint64 {
	s, ok := d.stores[kind]
	if !ok {
		return 0
	}
	return s.current()
}

// Problems returns what was refused at the last look, by file and document.
func (d *Directory) Problems() []Problem {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.problems
}

// Run reads the directory and follows its changes until ctx ends. Call it once.
func (d *Directory) Run(ctx context.Context) error {
	defer close(d.done)
	return newReader(d).run(ctx)
}
