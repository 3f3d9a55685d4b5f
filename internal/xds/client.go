// Package xds is the proxy's side of delta xDS: it keeps a mesh.Store equal to what the controller
// says and tells the controller which pods are captured.
package xds

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/ambitmesh/ambit/internal/mesh"
	"github.com/ambitmesh/ambit/internal/meshpb/discovery"
)

// The resource types.
const (
	AddressType       = "type.googleapis.com/istio.workload.Address"
	AuthorizationType = "type.googleapis.com/istio.security.Authorization"
	CaptureType       = "type.googleapis.com/ambit.mesh.v1.Capture"
)

// SeenKey is the key in the node's metadata under which the first request of a stream returns the
// last system_version_info per type (a Struct: type URL to string).
const SeenKey = "AMBIT_SEEN"

// ClientConfig configures a Client.
type ClientConfig struct {
	Dial       func(context.Context) (*grpc.ClientConn, error)
	Node       *discovery.Node
	Store      *mesh.Store
	Log        *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
	OnPlain    func(uid string)      // a retired pod is now known as plain; may be nil
	MaxMessage int                   // bytes; 0: DefaultMaxMessage
	MinBackoff time.Duration         // 0: 10 ms
	MaxBackoff time.Duration         // 0: 15 s
}

// DefaultMaxMessage bounds a response, as Istio's proxy does.
const DefaultMaxMessage = 200 << 20

// Client is the delta ADS client.
type Client struct{}

// NewClient returns a Client that does nothing until Run.
func NewClient(ClientConfig) (*Client, error) { return nil, errors.ErrUnsupported }

// Run connects, and reconnects with back-off, until ctx ends.
func (c *Client) Run(ctx context.Context) error { return errors.ErrUnsupported }

// SetCaptured replaces the set of captured pods; those that leave it are retired.
func (c *Client) SetCaptured(uids []string) {}

// Retire asks for the confirmation that uid is plain although this process never captured it.
func (c *Client) Retire(uid string) {}

// PlainKnown reports whether the controller has confirmed that every proxy knows uid as plain.
func (c *Client) PlainKnown(uid string) bool { return false }

// Announced reports whether the controller has confirmed that every proxy knows uid as captured.
func (c *Client) Announced(uid string) bool { return false }

// Status is the state of the connection to the controller.
type Status struct {
	Connected bool
	Since     time.Time // of the current state
	LastError string    // why the last stream ended
	LastNACK  string    // the last refusal of a resource
}

// Status returns the state of the connection to the controller.
func (c *Client) Status() Status { return Status{} }
