// Package admin shows what a running proxy knows and does: over a unix socket of root's, on loopback,
// and for scrapers and probes on addresses of their own. Nothing that it shows holds a key.
package admin

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/ztunnel/certs"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/pods"
)

// Config is what the pages are made of; all fields but Pprof are required.
type Config struct {
	Store    *mesh.Store
	Each     func(f func(*engine.Record) bool) // the live connections; records are not kept
	Pods     func() []pods.Info
	Certs    func() []certs.Status
	Explain  func(source, destination string, port uint16) (any, error)
	Ready    func() error // nil: ready, else why not
	Gatherer prometheus.Gatherer
	Level    *slog.LevelVar
	Version  string
	Settings any // what the process was started with
	Log      *slog.Logger
	Pprof    bool
}

// Admin serves the pages.
type Admin struct{ cfg Config }

// New returns an Admin.
func New(cfg Config) *Admin { return &Admin{cfg} }

// Handler serves everything, for the unix socket. Who can open that may ask.
func (a *Admin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config_dump", a.configDump)
	mux.HandleFunc("GET /connections", a.connections)
	mux.HandleFunc("GET /explain", a.explain)
	mux.HandleFunc("GET /logging", a.logging)
	mux.HandleFunc("POST /logging", a.logging)
	mux.Handle("GET /metrics", a.Metrics())
	mux.Handle("GET /healthz/ready", a.Readiness())
	if a.cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return limit(mux)
}

// Loopback serves everything on TCP: only to callers that name the loopback as their host, so that a
// page in a browser cannot reach it by a name of its own, and changes nothing without a header that
// such a page cannot send.
func (a *Admin) Loopback() http.Handler { return guard(a.Handler()) }

// Metrics serves the metrics alone.
func (a *Admin) Metrics() http.Handler {
	return promhttp.HandlerFor(a.cfg.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
}

// Readiness answers 200, or 503 with the reason.
func (a *Admin) Readiness() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := a.cfg.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
}

// ScrapeMux serves the metrics at the paths that scrapers of Istio's proxies know.
func (a *Admin) ScrapeMux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.Metrics())
	mux.Handle("GET /stats/prometheus", a.Metrics())
	return limit(mux)
}

// ReadyMux serves the readiness alone.
func (a *Admin) ReadyMux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz/ready", a.Readiness())
	return limit(mux)
}

func (a *Admin) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		a.cfg.Log.Debug("answer not written", "error", err)
	}
}
