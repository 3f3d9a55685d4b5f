// Package zds is the agent's end of ZDS: it hands pods' namespaces and listeners to node proxies, one
// message a packet. Requests are the agent's; the proxy answers each with one response.
package zds

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// Limits on what a proxy sends.
const (
	maxPacket = 4096 // bytes; version 1 says 1024, error texts may be longer
	maxFDs    = 7    // a namespace and six listeners
	maxWord   = 128  // bytes of Hello's instance and build
)

// ErrProtocol says that a peer broke the protocol: its session ends.
var ErrProtocol = errors.New("zds protocol error")

// Hello is a proxy's first message.
type Hello struct {
	Version  int    // 1 or 2
	Instance string // random for each proxy process; "" in version 1
	Build    string
}

// ParseHello reads a proxy's first packet.
func ParseHello(b []byte) (Hello, error) {
	var m pb.ZdsHello
	if err := proto.Unmarshal(b, &m); err != nil {
		return Hello{}, fmt.Errorf("%w: hello: %w", ErrProtocol, err)
	}
	h := Hello{Version: int(m.GetVersion()), Instance: m.GetInstance(), Build: m.GetBuild()}
	switch {
	case h.Version != 1 && h.Version != 2:
		return Hello{}, fmt.Errorf("%w: hello: version %d is neither 1 nor 2", ErrProtocol, h.Version)
	case len(h.Instance) > maxWord || len(h.Build) > maxWord:
		return Hello{}, fmt.Errorf("%w: hello: instance or build longer than %d bytes", ErrProtocol, maxWord)
	case h.Version == 2 && h.Instance == "":
		return Hello{}, fmt.Errorf("%w: hello: version 2 without an instance", ErrProtocol)
	}
	return h, nil
}

// ParseResponse reads an answer. An Ack with an error text is not an error here.
func ParseResponse(b []byte) (*pb.Ack, error) {
	var m pb.WorkloadResponse
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: response: %w", ErrProtocol, err)
	}
	ack := m.GetAck()
	if ack == nil {
		return nil, fmt.Errorf("%w: response without an ack", ErrProtocol)
	}
	if p := ack.GetPod(); p != nil && p.GetIdleMs() < 0 {
		return nil, fmt.Errorf("%w: response: idle for %d ms", ErrProtocol, p.GetIdleMs())
	}
	return ack, nil
}
