package objects

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// APIOptions say what an APIServer reads. The zero value reads every kind of the whole cluster.
type APIOptions struct {
	// Node limits pods to those of this node, and namespaces to their metadata: all that an agent may see.
	Node  string
	Kinds []Kind           // nil: all
	Log   *slog.Logger     // nil: discard
	Now   func() time.Time // nil: time.Now
	// LookAgain is how often a kind whose CustomResourceDefinition is not installed is looked for; 0: 2 s.
	// Until then its objects are not heeded, so an install whose definitions come last must not wait long.
	LookAgain time.Duration
	// GoneAfter is how long a kind that was there must stay away until its objects are gone; 0: 30 s.
	GoneAfter time.Duration
}

// APIServer serves a cluster's objects. It is a Source: informers list and watch the API server through it.
//
// While the API server is away nothing changes: calls are repeated until it answers, and watches go on
// from the version they had reached. Istio's kinds are decoded as a Directory's: one that cannot be
// understood leaves its previous version in force, else a policy's stand-in, and is a Problem.
type APIServer struct {
	opts  APIOptions
	kinds map[Kind]*apiKind
	done  chan struct{} // closed when Run ends
}

var _ Source = (*APIServer)(nil)

// NewAPIServer returns a source that calls nobody until an informer asks. It does not keep cfg.
func NewAPIServer(cfg *rest.Config, opts APIOptions) (*APIServer, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	set(&opts.LookAgain, 2*time.Second)
	set(&opts.GoneAfter, 30*time.Second)
	if opts.Kinds == nil {
		opts.Kinds = Kinds()
	}
	c, err := newClients(cfg)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %w", cfg.Host, err)
	}
	s := &APIServer{opts: opts, kinds: map[Kind]*apiKind{}, done: make(chan struct{})}
	for _, k := range opts.Kinds {
		sp, ok := registry[k]
		if !ok {
			return nil, fmt.Errorf("API server: unknown kind %q", k)
		}
		s.kinds[k] = &apiKind{kind: k, opts: &s.opts, calls: c.calls(k, sp, opts.Node), done: s.done}
	}
	return s, nil
}

// ListerWatcher returns the kind's list and watch calls. A kind that was not asked for is an error.
func (s *APIServer) ListerWatcher(kind Kind) (cache.ListerWatcher, error) {
	k, ok := s.kinds[kind]
	if !ok {
		return nil, fmt.Errorf("API server: kind %q is not read", kind)
	}
	return k, nil
}

// Run waits until ctx ends; after it every call of an informer ends too. Call it once.
func (s *APIServer) Run(ctx context.Context) error {
	<-ctx.Done()
	close(s.done)
	return nil
}

// Generation returns the highest resourceVersion seen of a kind: of its lists, objects and deletions.
func (s *APIServer) Generation(kind Kind) uint64 {
	k, ok := s.kinds[kind]
	if !ok {
		return 0
	}
	return k.generation.Load()
}

// Problems returns what was refused, and which kinds cannot be read at the moment.
func (s *APIServer) Problems() []Problem {
	var all []Problem
	for _, k := range s.kinds {
		all = append(all, k.problems()...)
	}
	slices.SortFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// apiServer is what Problem.File says of objects from an API server.
const apiServer = "API server"

// failure is why a kind cannot be read at the moment, "" if it can.
type failure struct {
	mu  sync.Mutex
	why string
}

// set notes err, or success, and reports whether that is new.
func (f *failure) set(err error) bool {
	why := ""
	if err != nil {
		why = err.Error()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := (f.why == "") != (why == "") // not each wording of the same outage
	f.why = why
	return changed
}

func (f *failure) get() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}
