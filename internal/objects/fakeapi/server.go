// Package fakeapi is a small API server for tests: it lists, watches, patches and creates JSON objects,
// and can be away, forget its history, or lack a kind.
package fakeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// Object is one object as JSON.
type Object = map[string]any

// Server is a running fake. Its paths are of resources, such as "/api/v1/pods".
type Server struct {
	tb   testing.TB
	http *httptest.Server

	mu      sync.Mutex
	version int
	oldest  int // watches from before it get 410
	away    bool
	objects map[string]Object // by path/namespace/name
	events  []event
	changed chan struct{}
	kinds   map[string]bool // served resource paths
	calls   []string        // "GET /path?query" of everything asked
	conns   map[chan struct{}]bool
	fail    func(r *http.Request) int // a status to answer instead, or 0
}

type event struct {
	version int
	path    string
	Type    string `json:"type"`
	Object  Object `json:"object"`
}

// New starts a server of the given resource paths; it ends with the test.
func New(tb testing.TB, paths ...string) *Server {
	tb.Helper()
	s := prepare(tb, paths)
	s.http.Start()
	return s
}

// NewUnix starts a server on a unix socket: clients in other network namespaces reach it. See Dial.
func NewUnix(tb testing.TB, socket string, paths ...string) *Server {
	tb.Helper()
	s := prepare(tb, paths)
	l, err := net.Listen("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	s.http.Listener.Close()
	s.http.Listener = l
	s.http.Start()
	return s
}

// Dial is the configuration of clients of a unix socket.
func Dial(socket string) *rest.Config {
	return &rest.Config{Host: "http://api", QPS: -1, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
}

func prepare(tb testing.TB, paths []string) *Server {
	tb.Helper()
	s := &Server{tb: tb, version: 100, objects: map[string]Object{}, changed: make(chan struct{}), kinds: map[string]bool{}, conns: map[chan struct{}]bool{}}
	for _, p := range paths {
		s.kinds[p] = true
	}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	tb.Cleanup(func() { s.Away(true); s.http.Close() })
	return s
}

// Config is a client's configuration.
func (s *Server) Config() *rest.Config { return &rest.Config{Host: s.http.URL, QPS: -1} }

// Away cuts every watch and answers everything with 503, or ends that.
func (s *Server) Away(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
	for c := range s.conns {
		close(c)
	}
	s.conns = map[chan struct{}]bool{}
}

// Forget drops the history of changes, as a compaction does, and cuts every watch.
func (s *Server) Forget() {
	s.mu.Lock()
	s.oldest, s.events = s.version, nil
	s.mu.Unlock()
	s.Away(false)
}

// Serve adds a resource, or takes it away.
func (s *Server) Serve(path string, served bool) {
	s.mu.Lock()
	s.kinds[path] = served
	s.mu.Unlock()
	if !served {
		s.Away(false) // cuts the watches
	}
}

// Fail makes requests fail for which f gives a status above 0. nil ends it.
func (s *Server) Fail(f func(r *http.Request) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// Put adds or replaces an object given as YAML and returns its new version.
func (s *Server) Put(path, y string) string {
	s.tb.Helper()
	var o Object
	if err := yaml.Unmarshal([]byte(y), &o); err != nil {
		s.tb.Fatalf("object of %s: %v", path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(path, o)
}

// YAML is what Put takes.
func YAML(o Object) string {
	b, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (s *Server) set(path string, o Object) string {
	m := meta(o)
	key := path + "/" + text(m, "namespace") + "/" + text(m, "name")
	kind := "ADDED"
	if old, ok := s.objects[key]; ok {
		kind = "MODIFIED"
		if text(m, "uid") == "" {
			m["uid"] = meta(old)["uid"]
		}
	}
	if text(m, "uid") == "" {
		m["uid"] = fmt.Sprintf("00000000-0000-0000-0000-%012d", s.version)
	}
	s.version++
	v := strconv.Itoa(s.version)
	m["resourceVersion"] = v
	s.objects[key] = o
	s.record(kind, path, o)
	return v
}

// Delete removes an object if there is one.
func (s *Server) Delete(path, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := path + "/" + namespace + "/" + name
	o, ok := s.objects[key]
	if !ok {
		return
	}
	delete(s.objects, key)
	s.version++
	last := clone(o)
	meta(last)["resourceVersion"] = strconv.Itoa(s.version)
	s.record("DELETED", path, last)
}

// Get returns a copy of an object, or nil.
func (s *Server) Get(path, namespace, name string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects[path+"/"+namespace+"/"+name]; ok {
		return clone(o)
	}
	return nil
}

// All returns copies of a resource's objects.
func (s *Server) All(path string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Object
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.HasPrefix(key, path+"/") {
			all = append(all, clone(s.objects[key]))
		}
	}
	return all
}

// Calls returns what was asked, in order: method, path and query.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Version is the newest version.
func (s *Server) Version() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

func (s *Server) record(kind, path string, o Object) {
	s.events = append(s.events, event{version: s.version, path: path, Type: kind, Object: clone(o)})
	close(s.changed)
	s.changed = make(chan struct{})
}

func meta(o Object) map[string]any {
	m, ok := o["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		o["metadata"] = m
	}
	return m
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func clone(o Object) Object {
	b, err := json.Marshal(o)
	if err != nil {
		return Object{}
	}
	out := Object{}
	if json.Unmarshal(b, &out) != nil {
		return Object{}
	}
	return out
}
