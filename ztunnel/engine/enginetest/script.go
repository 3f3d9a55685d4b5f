package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
)

// party is one end of a scripted conversation.
type party struct {
	*net.TCPConn
	name   string
	sent   uint64
	coming []byte // sent by the other and not read yet
	ended  bool   // has closed its sending half
	other  *party
}

// scripts: conversations of random steps, each of which has one right outcome.
func (by engines) scripts(t *testing.T) {
	type visit struct {
		*net.TCPConn
		over chan struct{}
	}
	accepted := make(chan visit, 1)
	app := func(c *net.TCPConn) {
		v := visit{c, make(chan struct{})}
		accepted <- v
		<-v.over
	}
	by.paths(t, app, func(t *testing.T, to netip.AddrPort, s *side) {
		for i := range 60 {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			client := &party{TCPConn: Connect(t, to), name: "client"}
			v := <-accepted
			t.Cleanup(func() { close(v.over) })
			server := &party{TCPConn: v.TCPConn, name: "server", other: client}
			client.other = server
			Eventually(t, "the connection is established", func() bool { return s.live() == 1 })
			var log bytes.Buffer
			end, err := converse(rnd, client, server, &log)
			if err != nil {
				t.Fatalf("script %d:%s: %v", i, log.String(), err)
			}
			checkScript(t, s.d.ended(engine.Outbound, i+1), client, server, end, fmt.Sprintf("script %d:%s", i, log.String()))
		}
	})
}

// converse returns the Detail of the record.
func converse(rnd *rand.Rand, client, server *party, log io.Writer) (string, error) {
	deadline := time.Now().Add(time.Minute)
	_ = client.SetDeadline(deadline)
	_ = server.SetDeadline(deadline)
	for range rnd.IntN(12) {
		x := client
		if rnd.IntN(2) == 0 {
			x = server
		}
		if err := x.step(rnd, log); err != nil {
			return "", err
		}
	}
	for _, x := range []*party{client, server} {
		if err := x.read(); err != nil {
			return "", err
		}
	}
	for _, x := range []*party{client, server} {
		if !x.ended && rnd.IntN(3) == 0 {
			fmt.Fprintf(log, " %s resets", x.name)
			return "reset by the " + x.name, x.reset()
		}
	}
	for _, x := range []*party{client, server} {
		if err := x.end(); err != nil {
			return "", err
		}
	}
	fmt.Fprint(log, " both end")
	return "", errors.Join(client.Close(), server.Close())
}

func (x *party) step(rnd *rand.Rand, log io.Writer) error {
	switch rnd.IntN(6) {
	case 0:
		fmt.Fprintf(log, " %s ends", x.name)
		return x.end()
	case 1, 2:
		fmt.Fprintf(log, " %s reads", x.name)
		return x.read()
	}
	n := []int{1, 100, 9000, 70_000}[rnd.IntN(4)]
	if x.ended || len(x.other.coming)+n > 100_000 { // what is on its way fits into sockets' buffers
		return nil
	}
	fmt.Fprintf(log, " %s sends %d", x.name, n)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	x.other.coming = append(x.other.coming, b...)
	x.sent += uint64(n)
	_, err := x.Write(b)
	return err
}

// read wants all that the other has sent, and its end if that has ended.
func (x *party) read() error {
	b := make([]byte, len(x.coming))
	if _, err := io.ReadFull(x, b); err != nil {
		return fmt.Errorf("%s reads: %w", x.name, err)
	}
	if !bytes.Equal(b, x.coming) {
		return fmt.Errorf("%s reads other bytes", x.name)
	}
	x.coming = nil
	if !x.other.ended {
		return nil
	}
	if n, err := x.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return fmt.Errorf("%s reads %d bytes and %w, want the end", x.name, n, err)
	}
	return nil
}

func (x *party) end() error {
	if x.ended {
		return nil
	}
	x.ended = true
	return x.CloseWrite()
}

// reset has the other side, which has nothing more to read, learn of it.
func (x *party) reset() error {
	_ = x.SetLinger(0)
	_ = x.Close()
	if n, err := x.other.Read(make([]byte, 1)); n > 0 || !isReset(err) {
		return fmt.Errorf("%s reads %d bytes and %w, want a reset", x.other.name, n, err)
	}
	return x.other.Close()
}

func checkScript(t *testing.T, all []*engine.Record, client, server *party, detail, script string) {
	t.Helper()
	last := all[0]
	for _, r := range all {
		if r.ID > last.ID {
			last = r
		}
	}
	if last.Reason != reason.None || last.Detail != detail || last.Sent.Load() != client.sent || last.Received.Load() != server.sent {
		t.Errorf("%s: reason %q, detail %q, sent %d of %d, received %d of %d", script, last.Reason, last.Detail,
			last.Sent.Load(), client.sent, last.Received.Load(), server.sent)
	}
	if (last.First > 0) != (server.sent > 0) {
		t.Errorf("%s: first byte after %v", script, last.First)
	}
}
