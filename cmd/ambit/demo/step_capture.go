package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
	"github.com/ambitmesh/ambit/internal/lab/app"
)

const dialLimit = 5 * time.Second

// needle is what must not be readable on the fabric once the mesh is there.
const needle = "card=4929-1234-5678-9012"

// say opens a connection from web to orders, sends the needle and returns what the fabric showed.
func (s *shop) say(ctx context.Context, address string) (*lab.Trace, *lab.Conn, lab.BannerLine, error) {
	c, err := s.lab.Node("node-a").CaptureUplink()
	if err != nil {
		return nil, nil, lab.BannerLine{}, err
	}
	conn, banner, err := s.hold(ctx, address)
	if err == nil {
		err = conn.Ping(ctx, []byte(needle)...)
	}
	trace, stopErr := c.Stop()
	return trace, conn, banner, errors.Join(err, stopErr)
}

// hold opens a connection from web that stays.
func (s *shop) hold(ctx context.Context, address string) (*lab.Conn, lab.BannerLine, error) {
	a, err := s.web.App()
	if err != nil {
		return nil, lab.BannerLine{}, err
	}
	conn, err := a.Dial(ctx, app.DialArgs{Address: address, Timeout: dialLimit})
	if err != nil {
		return nil, lab.BannerLine{}, err
	}
	banner, err := conn.Banner(ctx)
	return conn, banner, err
}

// plaintext: without the mesh, everybody on the fabric can read along.
func (s *shop) plaintext(ctx context.Context) (string, error) {
	trace, conn, _, err := s.say(ctx, s.orders.At(false, port))
	if err != nil {
		return "", err
	}
	s.old = conn
	if !trace.Contains([]byte(needle)) {
		return "", errors.New("the card number did not show on the fabric: nothing was captured")
	}
	if s.direct, err = s.measure(ctx, directPings); err != nil {
		return "", err
	}
	return fmt.Sprintf("a capture between the nodes reads %q in plain TCP, in %d packets", needle, len(trace.Segments)), nil
}

// label enrols the namespace.
func (s *shop) label(ctx context.Context) (string, error) {
	begin := time.Now()
	if err := s.lab.Enrol(namespace, true); err != nil {
		return "", err
	}
	if err := lab.WaitEnrolled(ctx, s.meshed()...); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d pods enrolled on both nodes in %s; no process was restarted", len(s.meshed()), round(time.Since(begin))), nil
}

// alive: the connection from before the label goes on.
func (s *shop) alive(ctx context.Context) (string, error) {
	if s.old == nil {
		return "", errors.New("there is no connection from before the label")
	}
	if err := s.old.Ping(ctx, []byte("still there?")...); err != nil {
		return "", err
	}
	return "the connection that web opened before the label still answers", nil
}

// encrypted: the same call is unreadable now, and both ends have an identity.
func (s *shop) encrypted(ctx context.Context) (string, error) {
	// The first answer of the controller may be a moment away.
	if err := lab.Eventually(ctx, s.tunnelled); err != nil {
		return "", err
	}
	trace, conn, banner, err := s.say(ctx, s.ordersService.At(false, port))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if trace.Contains([]byte(needle)) {
		return "", errors.New("the card number is still readable on the fabric")
	}
	between := trace.Between(s.web.V4, s.orders.V4)
	tls := between.Port(hbonePort)
	if err := tls.OnlyTLS(); err != nil {
		return "", fmt.Errorf("port %d: %w", hbonePort, err)
	}
	if rest := payload(between) - payload(tls); rest > 0 {
		return "", fmt.Errorf("%d bytes between web and orders outside of port %d", rest, hbonePort)
	}
	ids, err := s.identities(ctx, conn)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("not readable: %d bytes, all of them TLS records on port %d; %s; orders sees its caller as %s, web's own address", payload(tls), hbonePort, ids, banner.Remote), nil
}

const hbonePort = 15008

func payload(t *lab.Trace) int {
	n := 0
	for _, s := range t.Segments {
		n += len(s.Payload)
	}
	return n
}

// tunnelled is nil once a new connection of web goes through a tunnel.
func (s *shop) tunnelled(ctx context.Context) error {
	conn, _, err := s.hold(ctx, s.ordersService.At(false, port))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = s.identities(ctx, conn)
	return err
}

// identities asks both proxies who is at the ends of a connection of web.
func (s *shop) identities(ctx context.Context, conn *lab.Conn) (string, error) {
	out, err := connectionOf(ctx, s.web, "outbound", func(c connection) bool { return c.Source.Address == conn.Local })
	if err != nil {
		return "", err
	}
	in, err := connectionOf(ctx, s.orders, "hbone", func(c connection) bool { return c.Destination.Address == s.orders.At(false, port) })
	if err != nil {
		return "", err
	}
	if out.Path != "tunnel" || out.Destination.Identity != s.orders.Identity() {
		return "", fmt.Errorf("web's proxy has path %q to %q", out.Path, out.Destination.Identity)
	}
	if in.Source.Identity != s.web.Identity() {
		return "", fmt.Errorf("orders' proxy has a peer %q", in.Source.Identity)
	}
	return fmt.Sprintf("web's proxy verified %s, orders' proxy verified %s", out.Destination.Identity, in.Source.Identity), nil
}

// unlabel takes the namespace out of the mesh, and in again.
func (s *shop) unlabel(ctx context.Context) (string, error) {
	meshed, _, err := s.hold(ctx, s.ordersService.At(false, port))
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.lab.Enrol(namespace, false); err != nil {
		return "", err
	}
	if err := s.readableAgain(ctx); err != nil {
		return "", err
	}
	took := time.Since(begin)
	if err := errors.Join(meshed.Ping(ctx, []byte("still there?")...), s.old.Ping(ctx, []byte("and you?")...)); err != nil {
		return "", fmt.Errorf("a running connection broke: %w", err)
	}
	if err := meshed.Close(ctx); err != nil {
		return "", err
	}
	if err := lab.WaitPlain(ctx, s.meshed()...); err != nil {
		return "", err
	}
	plain := time.Since(begin)
	if _, err := s.label(ctx); err != nil {
		return "", fmt.Errorf("label again: %w", err)
	}
	// Under STRICT a call that is ahead of the controller's answer would be refused as plaintext.
	if err := lab.Eventually(ctx, s.tunnelled); err != nil {
		return "", fmt.Errorf("label again: %w", err)
	}
	return fmt.Sprintf("new connections are plaintext again after %s, the tunnelled one lived on, nothing is left in the pods after %s; labelled again", round(took), round(plain)), nil
}

// readableAgain is nil once the needle shows on the fabric.
func (s *shop) readableAgain(ctx context.Context) error {
	return lab.Eventually(ctx, func(ctx context.Context) error {
		trace, conn, _, err := s.say(ctx, s.orders.At(false, port))
		if conn != nil {
			conn.Close(ctx)
		}
		if err == nil && !trace.Contains([]byte(needle)) {
			err = errors.New("new connections are still in tunnels")
		}
		return err
	})
}

func round(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
