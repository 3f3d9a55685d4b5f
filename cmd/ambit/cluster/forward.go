package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// Dialer connects to a TCP port on the loopback of a pod.
type Dialer func(ctx context.Context, namespace, pod string, port uint16) (net.Conn, error)

// forwarder dials by the API server's port-forward, without a local port that others could use.
func forwarder(cfg *rest.Config, core kubernetes.Interface) Dialer {
	return func(ctx context.Context, namespace, pod string, port uint16) (net.Conn, error) {
		conn, err := upgrade(cfg, core, namespace, pod)
		if err != nil {
			return nil, fmt.Errorf("port-forward to pod %s/%s: %w", namespace, pod, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		c, err := open(conn, port)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("port-forward to port %d of pod %s/%s: %w", port, namespace, pod, err), conn.Close())
		}
		return c, nil
	}
}

// upgrade asks by WebSocket, and by SPDY where something on the way does not know it.
func upgrade(cfg *rest.Config, core kubernetes.Interface, namespace, pod string) (httpstream.Connection, error) {
	u := core.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return nil, err
	}
	plain := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	socket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, cfg)
	if err != nil {
		return nil, err
	}
	conn, protocol, err := portforward.NewFallbackDialerForStreaming(socket, plain, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}).Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		return nil, errors.Join(fmt.Errorf("the server chose protocol %q", protocol), conn.Close())
	}
	return conn, nil
}

// open makes the pair of streams that is one forwarded connection: data, and what went wrong.
func open(conn httpstream.Connection, port uint16) (net.Conn, error) {
	h := http.Header{}
	h.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	h.Set(corev1.PortForwardRequestIDHeader, "0")
	h.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := conn.CreateStream(h)
	if err != nil {
		return nil, err
	}
	if err := failures.Close(); err != nil { // nothing is written to it
		return nil, err
	}
	h.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(h)
	if err != nil {
		return nil, err
	}
	return &forwarded{Stream: data, failures: failures, conn: conn}, nil
}

// forwarded is a stream as a net.Conn.
type forwarded struct {
	httpstream.Stream
	failures httpstream.Stream
	conn     httpstream.Connection
}

// Read tells why the other end hung up, if it says so: a closed port looks like an empty answer.
func (f *forwarded) Read(b []byte) (int, error) {
	n, err := f.Stream.Read(b)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	if why, readErr := io.ReadAll(io.LimitReader(f.failures, 4096)); readErr == nil && len(why) > 0 {
		return 0, errors.New(string(why))
	}
	return 0, err
}

func (f *forwarded) Close() error { return errors.Join(f.Stream.Reset(), f.conn.Close()) }

func (f *forwarded) LocalAddr() net.Addr  { return &net.UnixAddr{Name: "port-forward", Net: "unix"} }
func (f *forwarded) RemoteAddr() net.Addr { return f.LocalAddr() }

// Deadlines are the request's context's business: when it ends, the connection is closed.
func (f *forwarded) SetDeadline(time.Time) error      { return nil }
func (f *forwarded) SetReadDeadline(time.Time) error  { return nil }
func (f *forwarded) SetWriteDeadline(time.Time) error { return nil }
