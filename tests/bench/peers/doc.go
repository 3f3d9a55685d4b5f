// Package peers runs other proxies as pairs that do what two node proxies do: plain TCP in, mutual TLS 1.3
// between them, plain TCP out. All have one worker, ECDSA P-256 certificates and AES-128-GCM, as the mesh
// has, and no access log, which the mesh has. Proxies of other meshes are in packages below.
package peers

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Forward is one way through a pair: what the near half listens on, where the far half listens, and where
// that sends it.
type Forward struct {
	Near, Far, To netip.AddrPort
	Fresh         bool // no TLS session is resumed
}

// Half is one proxy of a pair, ready to be started.
type Half struct {
	Args []string
	Env  []string
}

// Kind is where a proxy stands.
type Kind int

// The kinds of proxies.
const (
	Pair      Kind = iota // one beside each pod, each connection by a TLS connection of its own
	NodeProxy             // one on each node, under our controller: package istio
	Sidecar               // one beside each pod, with a control plane: package linkerd
)

// Tool is another proxy that this machine has.
type Tool struct {
	Name    string
	Kind    Kind
	Version string
	path    string
	env     []string
	module  string // nginx's stream module
	write   func(t Tool, dir string, c *certs, fs []Forward) (near, far Half, err error)
}

// Path is the program.
func (t Tool) Path() string { return t.path }

// Pair writes both configurations into dir, with keys, and says how to start the halves.
func (t Tool) Pair(dir string, fs []Forward) (near, far Half, err error) {
	c, err := makeCerts(dir)
	if err != nil {
		return Half{}, Half{}, err
	}
	return t.write(t, dir, c, fs)
}

// connections is how many a half can carry: each has two sockets.
func connections() int {
	const most, spare, assumed = 24_000, 200, 1024
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		l.Cur = assumed
	}
	return int(min(most, (l.Cur-spare)/2))
}
