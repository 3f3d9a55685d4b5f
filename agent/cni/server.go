package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/agent/netns"
	"github.com/ambitmesh/ambit/internal/cni"
)

// maxBody bounds a request.
const maxBody = 1 << 20

// Sandbox is a pod's sandbox as the container runtime describes it.
type Sandbox struct {
	Namespace, Name, UID, Container string
	Addresses                       []netip.Addr
}

// Mesh is what the agent does for the plugin.
type Mesh interface {
	// Add captures a sandbox before its first packet. It owns ns. The error is the reason why not.
	Add(ctx context.Context, s Sandbox, ns *os.File) error
	// Del releases a sandbox whose address will be another's in a moment. ns is nil if it is gone already.
	Del(ctx context.Context, s Sandbox, ns *os.File) error
	// Check says what is wrong with a sandbox.
	Check(ctx context.Context, s Sandbox) error
	// Keep forgets all sandboxes but these.
	Keep(containers []string)
}

// Server answers the plugin.
type Server struct {
	mesh Mesh
	log  *slog.Logger
	now  func() time.Time

	requests *prometheus.HistogramVec
}

// NewServer returns a server; Run serves.
func NewServer(m Mesh, log *slog.Logger, now func() time.Time, reg prometheus.Registerer) (*Server, error) {
	s := &Server{mesh: m, log: log, now: now, requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "ambit_cni_request_seconds", Help: "How long the CNI plugin waited for the agent, by request and result.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"request", "result"})}
	if err := reg.Register(s.requests); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return s, nil
}

// peerKey is where a connection's context has its peer's process.
type peerKey struct{}

// Run serves on dir/cni.sock, mode 0600, until ctx ends.
func (s *Server) Run(ctx context.Context, dir string) error {
	l, err := listen(filepath.Join(dir, cni.SocketName))
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerOf(c))
		},
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// listen replaces the socket of an agent before us in one step: a plugin never finds none.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of %s: %w", path, err)
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(tmp, 0o600), os.Rename(tmp, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("place socket %s: %w", path, err), l.Close())
	}
	return l, nil
}

// peerOf is the process behind a connection; nil if it may not call.
func peerOf(c net.Conn) *unix.Ucred {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	var cred *unix.Ucred
	err = raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || cred == nil || int(cred.Uid) != os.Getuid() {
		return nil
	}
	return cred
}

// openNetNS opens a path of the plugin's mount namespace: the agent's own has not every mount.
func openNetNS(ctx context.Context, path string) (*os.File, error) {
	if path == "" {
		return nil, errors.New("no network namespace is named")
	}
	root := "/"
	if peer, _ := ctx.Value(peerKey{}).(*unix.Ucred); peer != nil && peer.Pid > 0 {
		root = fmt.Sprintf("/proc/%d/root", peer.Pid)
	}
	return netns.OpenIn(root, path)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add", sandboxHandler(s, "add", s.add))
	mux.HandleFunc("POST /del", sandboxHandler(s, "del", s.del))
	mux.HandleFunc("POST /check", sandboxHandler(s, "check", func(ctx context.Context, b Sandbox, _ cni.Request) error { return s.mesh.Check(ctx, b) }))
	mux.HandleFunc("POST /gc", func(w http.ResponseWriter, r *http.Request) {
		var v cni.Valid
		s.answer(w, r, "gc", &v, func() error { s.mesh.Keep(v.ContainerIDs); return nil })
	})
	return mux
}

func sandboxHandler(s *Server, name string, f func(context.Context, Sandbox, cni.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q cni.Request
		s.answer(w, r, name, &q, func() error {
			b, err := sandboxOf(q)
			if err != nil {
				return err
			}
			return f(r.Context(), b, q)
		})
	}
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, name string, body any, f func() error) {
	begin := s.now()
	var err error
	if peer, _ := r.Context().Value(peerKey{}).(*unix.Ucred); peer == nil {
		err = errors.New("only the agent's own user may call")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		if err = d.Decode(body); err == nil {
			err = f()
		}
	}
	reply, result := cni.Reply{OK: err == nil}, "ok"
	if err != nil {
		reply.Error, result = err.Error(), "error"
		s.log.Warn("CNI request", "request", name, "error", err)
	}
	s.requests.WithLabelValues(name, result).Observe(s.now().Sub(begin).Seconds())
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(reply); err != nil {
		s.log.Debug("CNI plugin is gone", "request", name, "error", err)
	}
}

func sandboxOf(q cni.Request) (Sandbox, error) {
	if q.Namespace == "" || q.Name == "" {
		return Sandbox{}, errors.New("the request names no pod")
	}
	b := Sandbox{Namespace: q.Namespace, Name: q.Name, UID: q.UID, Container: q.ContainerID}
	for _, ip := range q.IPs {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return b, fmt.Errorf("address: %w", err)
		}
		b.Addresses = append(b.Addresses, a.Unmap())
	}
	return b, nil
}

// add answers a little before the plugin would give up, so that the reason is told.
func (s *Server) add(ctx context.Context, b Sandbox, q cni.Request) error {
	ctx, cancel := context.WithTimeout(ctx, cni.HoldTime-2*time.Second)
	defer cancel()
	if len(b.Addresses) == 0 {
		return errors.New("the plugins before gave the pod no address")
	}
	ns, err := openNetNS(ctx, q.NetNS)
	if err != nil {
		return err
	}
	return s.mesh.Add(ctx, b, ns)
}

func (s *Server) del(ctx context.Context, b Sandbox, q cni.Request) error {
	ns, err := openNetNS(ctx, q.NetNS)
	if err != nil {
		return s.mesh.Del(ctx, b, nil) // it is gone, and may be: DEL is repeated
	}
	defer ns.Close()
	return s.mesh.Del(ctx, b, ns)
}
