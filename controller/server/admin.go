package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ambitmesh/ambit/controller/ca"
)

// AdminSocket is the admin socket's name in the state directory.
const AdminSocket = "controller.sock"

// listenUnix opens a socket that only its owner can use. One that is there belongs to a dead process: this
// one has the state directory.
func listenUnix(path string) (net.Listener, error) {
	st, err := os.Lstat(path)
	switch {
	case err == nil && st.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("listen on %s: there is something that is no socket", path)
	case err == nil:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove old socket: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("listen: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("make socket private: %w", err), l.Close())
	}
	return l, nil
}

func (s *Server) adminHandler() http.Handler {
	mux := s.pagesMux()
	mux.HandleFunc("POST /root/rotate", s.serveRotate)
	return mux
}

// pagesMux is what can be read. Nothing is changed without the socket.
func (s *Server) pagesMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.serveStatus)
	mux.Handle("GET /metrics", s.metricsHandler())
	mux.Handle("GET /healthz/ready", s.readyHandler())
	return mux
}

// loopback answers only who called this host by a name of its own: a browser that a foreign name has led
// here is refused.
func loopback(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			http.Error(w, "the Host header must name this machine's loopback", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (s *Server) serveStatus(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, s.Status()) }

// serveRotate takes ?step=prepare|activate|finish and &force=true, and answers with the CA's state.
func (s *Server) serveRotate(w http.ResponseWriter, r *http.Request) {
	force, err := strconv.ParseBool(r.URL.Query().Get("force"))
	if err != nil && r.URL.Query().Has("force") {
		http.Error(w, fmt.Sprintf("force: %v", err), http.StatusBadRequest)
		return
	}
	if c := s.cfg.Cluster; c != nil {
		if err := c.MayRotate(); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
	}
	err = s.ca.Rotate(r.URL.Query().Get("step"), force)
	switch {
	case errors.Is(err, ca.ErrRotation):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		s.cfg.Log.Error("rotate the root", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		s.writeJSON(w, s.ca.Status())
	}
}

func (s *Server) writeJSON(w http.ResponseWriter, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(append(b, '\n')); err != nil {
		s.cfg.Log.Debug("answer an admin request", "error", err)
	}
}

func (s *Server) metricsHandler() http.Handler {
	return promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{})
}

func (s *Server) readyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !s.cache.Ready() {
			http.Error(w, errNotReady.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
}

// errNotReady is why a controller that has just begun is not ready.
var errNotReady = errors.New("the objects were not read yet")

func at(pattern string, h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(pattern, h)
	return mux
}

// serveHTTP serves until ctx ends; without a listener it does nothing.
func (s *Server) serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	if l == nil {
		return nil
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
