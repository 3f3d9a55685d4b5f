package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Status is a picture of the agent.
func (a *Agent) Status() Status {
	s := Status{
		Version: a.cfg.Version, Instance: a.cfg.Instance, Node: a.cfg.Node,
		Features: a.features, Pods: a.PodStatuses(), Proxies: a.proxyStatuses(), Counters: a.events.all(),
	}
	hooks, err := a.mesh.Counters()
	a.note("read counters", err)
	maps.Copy(s.Counters, hooks)
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Probes = a.probes
	return s
}

// PodStatuses are the pods of this node by namespace and name.
func (a *Agent) PodStatuses() []PodStatus {
	out := []PodStatus{}
	for _, p := range a.all() {
		out = append(out, p.show())
	}
	slices.SortFunc(out, func(x, y PodStatus) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name), cmp.Compare(x.UID, y.UID))
	})
	return out
}

func (p *pod) show() PodStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PodStatus{
		Namespace: p.obj.Namespace, Name: p.obj.Name, UID: p.uid, Node: p.a.cfg.Node,
		Desired: p.wish.desired, Actual: p.status.actual, Why: cmp.Or(p.status.why, p.wish.why), Addresses: []string{},
		Captured: p.status.captured, Announced: p.obj.Annotations[annotationRedirection] == "enabled",
		ExcludedInbound: p.wish.excluded, Notes: slices.Concat(p.wish.notes, p.status.notes), Since: p.status.since,
	}
	for _, addr := range p.obj.Addresses {
		s.Addresses = append(s.Addresses, addr.String())
	}
	return s
}

func (a *Agent) proxyStatuses() []ProxyStatus {
	out := []ProxyStatus{}
	active := a.proxies.active()
	for _, s := range a.proxies.list() {
		out = append(out, ProxyStatus{
			PID: s.Peer.PID, Cgroup: s.cgroup, Instance: s.Hello.Instance, Version: s.Hello.Version,
			Active: s.Session == active, Build: s.Hello.Build, Since: s.Since,
		})
	}
	return out
}

// Handler serves /status, /metrics and /healthz/ready.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(a.Status()); err != nil {
			a.log.Debug("status not written", "error", err)
		}
	})
	mux.Handle("GET /metrics", a.MetricsHandler())
	mux.Handle("GET /healthz/ready", a.ReadyHandler())
	return mux
}

// MetricsHandler serves the registry.
func (a *Agent) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(a.cfg.Registry, promhttp.HandlerOpts{})
}

// ReadyHandler answers 200 once the agent has seen the world.
func (a *Agent) ReadyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !a.Ready() {
			http.Error(w, "the source has not been read yet", http.StatusServiceUnavailable)
		}
	})
}

// ServeAdmin serves Handler on <run-dir>/agent.sock, mode 0600, until ctx ends.
func (a *Agent) ServeAdmin(ctx context.Context) error {
	path := filepath.Join(a.cfg.RunDir, "agent.sock")
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old admin socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(tmp, 0o600), os.Rename(tmp, path)); err != nil {
		return errors.Join(fmt.Errorf("place admin socket %s: %w", path, err), l.Close())
	}
	return ServeHTTP(ctx, l, a.Handler())
}

// ServeHTTP serves until ctx ends.
func ServeHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
