// Package linkerd runs linkerd2-proxy beside pods, as a sidecar that netfilter feeds, with the answers of a
// small control plane: every connection is opaque TCP, goes by mutual TLS and is allowed to one client.
package linkerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/tests/bench/peers/nft"
	"github.com/ambitmesh/ambit/tests/bench/peers/prom"
)

const (
	outboundPort = 4140
	inboundPort  = 4143
	controlPort  = 8086
	adminPort    = 4191
)

// rules are those of Linkerd's CNI plugin for a client or a server, IPv4 only.
var rules = map[bool]string{
	false: fmt.Sprintf(`table ip linkerd {
	chain output {
		type nat hook output priority -100
		oifname "lo" accept
		tcp dport != %d redirect to :%d
	}
}
`, inboundPort, outboundPort),
	true: fmt.Sprintf(`table ip linkerd {
	chain prerouting {
		type nat hook prerouting priority dstnat
		iifname "lo" accept
		tcp dport != %[1]d redirect to :%[1]d
	}
}
`, inboundPort),
}

// Pair is a client's proxy and a server's.
type Pair struct {
	ca      *authority
	client  *lab.Pod
	control []*grpc.Server
	tasks   sync.WaitGroup
}

// New makes their authority. Close ends what Start starts.
func New() (*Pair, error) {
	ca, err := newAuthority()
	return &Pair{ca: ca}, err
}

// Half is the proxy of one pod, which is the client or the server.
type Half struct {
	Pod, Client, Server *lab.Pod
	Program             string
	Ports               string // those that the server has, as first-last: for others the first connection has no policy yet
	Cgroup              string // of the process
	Dir                 string // for its keys
}

// identity is a pod's name in the mesh.
func identity(p *lab.Pod) string {
	return p.Name + "." + p.Namespace + ".serviceaccount.identity.linkerd.cluster.local"
}

// Start starts a proxy.
func (x *Pair) Start(ctx context.Context, h Half) error {
	a := answers{ca: x.ca, client: identity(h.Client), server: identity(h.Server), to: h.Server.V4}
	c, err := serve(h.Pod, a, &x.tasks)
	if err != nil {
		return err
	}
	x.control = append(x.control, c)
	x.client = h.Client
	if err := os.MkdirAll(h.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory of an identity: %w", err)
	}
	if err := x.ca.documents(h.Dir, identity(h.Pod)); err != nil {
		return err
	}
	if err := nft.Apply(ctx, h.Pod.Host, rules[h.Pod == h.Server]); err != nil {
		return err
	}
	_, err = h.Pod.Start(lab.Command{Args: []string{h.Program}, Env: x.env(h), Cgroup: h.Cgroup, Log: "linkerd-" + h.Pod.Name})
	return err
}

// env says what Linkerd's injector says, with one worker, as all proxies have it that are measured.
func (x *Pair) env(h Half) []string {
	p, dir := h.Pod, h.Dir
	control := fmt.Sprintf("127.0.0.1:%d", controlPort)
	env := []string{
		"LOG=warn,linkerd=info,hickory=error", "CORES=1",
		"DESTINATION_SVC_ADDR=" + control, "POLICY_SVC_ADDR=" + control, "IDENTITY_SVC_ADDR=" + control,
		"DESTINATION_PROFILE_NETWORKS=10.0.0.0/8", "POLICY_CLUSTER_NETWORKS=10.0.0.0/8", "POLICY_WORKLOAD=" + p.FullName(),
		"INBOUND_DEFAULT_POLICY=deny", "INBOUND_IPS=" + p.V4.String(), "INBOUND_PORTS=" + h.Ports,
		fmt.Sprintf("OUTBOUND_LISTEN_ADDR=127.0.0.1:%d", outboundPort), fmt.Sprintf("INBOUND_LISTEN_ADDR=0.0.0.0:%d", inboundPort),
		fmt.Sprintf("ADMIN_LISTEN_ADDR=127.0.0.1:%d", adminPort),
		"IDENTITY_DIR=" + dir, "IDENTITY_TOKEN_FILE=" + filepath.Join(dir, "token"), "IDENTITY_TRUST_ANCHORS=" + string(x.ca.pem),
		"IDENTITY_LOCAL_NAME=" + identity(p),
	}
	for i := range env {
		env[i] = "LINKERD2_PROXY_" + env[i]
	}
	return env
}

// Tunnelled is how many connections the client's proxy has carried by mutual TLS.
func (x *Pair) Tunnelled(ctx context.Context) (int, error) {
	b, err := x.client.GetFrom(ctx, fmt.Sprintf("http://127.0.0.1:%d/metrics", adminPort))
	if err != nil {
		return 0, err
	}
	return prom.Sum(b, "tcp_open_total", `direction="outbound"`, `peer="dst"`, `tls="true"`)
}

// Close ends the control plane; the proxies end with their lab.
func (x *Pair) Close() error {
	for _, c := range x.control {
		c.Stop()
	}
	x.tasks.Wait()
	return nil
}
