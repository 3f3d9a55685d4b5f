// Package xds is the proxy's side of delta xDS: it keeps a mesh.Store equal to what the controller
// says and tells the controller which pods are captured.
package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// The resource types.
const (
	AddressType       = mesh.AddressType
	AuthorizationType = mesh.AuthorizationType
	CaptureType       = "type.googleapis.com/ambit.mesh.v1.Capture"
)

// SeenKey is the key in the node's metadata under which the first request of a stream returns the
// last system_version_info per type (a Struct: type URL to string).
const SeenKey = "AMBIT_SEEN"

// ClientConfig configures a Client.
type ClientConfig struct {
	// Dial makes a connection for one stream; the client closes it. A fresh one each time follows
	// changes of root and credential. It should set DialOptions.
	Dial       func(context.Context) (*grpc.ClientConn, error)
	Node       *discovery.Node
	Store      *mesh.Store
	Log        *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
	OnPlain    func(uid string)      // a retired pod is now known as plain; may be nil
	OnConnect  func()                // the controller answers on a new stream; may be nil
	MaxMessage int                   // bytes; 0: DefaultMaxMessage
	MinBackoff time.Duration         // 0: 10 ms
	MaxBackoff time.Duration         // 0: 15 s
}

// DialOptions notice a controller that is gone without a word, at Istio's intervals.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second})}
}

// DefaultMaxMessage bounds a response, as Istio's proxy does.
const DefaultMaxMessage = 200 << 20

// Client is the delta ADS client. Its methods may be called at any time, from any goroutine.
type Client struct {
	cfg     ClientConfig
	metrics *metrics
	capture *capture

	mu     sync.Mutex
	status Status
}

// Status is the state of the connection to the controller.
type Status struct {
	Connected bool
	Since     time.Time // of the current state
	LastError string    // why the last stream ended
	LastNACK  string    // the last refusal of resources
}

// NewClient returns a Client that does nothing until Run. It fails if a metric of that name is
// registered already.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Dial == nil || cfg.Node == nil || cfg.Store == nil {
		return nil, errors.New("new xds client: Dial, Node and Store are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.OnPlain == nil {
		cfg.OnPlain = func(string) {}
	}
	if cfg.OnConnect == nil {
		cfg.OnConnect = func() {}
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = DefaultMaxMessage
	}
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff = 10 * time.Millisecond
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 15 * time.Second
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("new xds client: %w", err)
	}
	return &Client{cfg: cfg, metrics: m, capture: newCapture()}, nil
}

// Run connects, and reconnects with back-off and jitter, until ctx ends; then it returns nil. While
// there is no connection the store keeps what it has.
func (c *Client) Run(ctx context.Context) error {
	wait := c.cfg.MinBackoff
	for ctx.Err() == nil {
		answered, err := c.connect(ctx)
		if ctx.Err() != nil {
			break
		}
		c.disconnected(err)
		if answered {
			wait = c.cfg.MinBackoff
		}
		c.cfg.Log.Warn("the stream to the controller ended", "error", err, "retry_in", wait)
		sleep(ctx, wait/2+rand.N(wait/2+1))
		wait = min(2*wait, c.cfg.MaxBackoff)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// connect runs one stream to its end and reports whether anything came.
func (c *Client) connect(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := c.cfg.Dial(ctx)
	if err != nil {
		return false, fmt.Errorf("dial controller: %w", err)
	}
	defer conn.Close()
	adsc, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx,
		grpc.MaxCallRecvMsgSize(c.cfg.MaxMessage), grpc.MaxCallSendMsgSize(c.cfg.MaxMessage))
	if err != nil {
		return false, fmt.Errorf("open stream: %w", err)
	}
	s := &stream{client: c, ads: adsc, acks: make(chan *discovery.DeltaDiscoveryRequest, 4), seen: map[string]bool{}}
	return s.run(ctx, cancel)
}

// SetCaptured replaces the set of captured pods; those that leave it are retired.
func (c *Client) SetCaptured(uids []string) { c.capture.set(uids) }

// Retire asks for the confirmation that uid is known as plain, also if this process never captured it
// (its predecessor may have).
func (c *Client) Retire(uid string) { c.capture.retire(uid) }

// PlainKnown reports whether the controller has confirmed that every proxy knows uid as plain, since
// it was last captured or retired.
func (c *Client) PlainKnown(uid string) bool { return c.capture.plainKnown(uid) }

// Announced reports whether the controller has confirmed that every proxy knows uid as captured.
func (c *Client) Announced(uid string) bool { return c.capture.announced(uid) }

// Status returns the state of the connection to the controller.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

func (c *Client) connected() {
	c.metrics.connected.Set(1)
	c.mu.Lock()
	c.status.Connected, c.status.Since = true, time.Now()
	c.mu.Unlock()
	c.cfg.OnConnect()
}

func (c *Client) disconnected(err error) {
	c.metrics.ended(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status.Connected || c.status.Since.IsZero() {
		c.status.Since = time.Now()
	}
	c.status.Connected, c.status.LastError = false, err.Error()
}

func (c *Client) nacked(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.LastNACK = why
}
