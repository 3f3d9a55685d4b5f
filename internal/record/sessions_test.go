package record

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"
)

// A set's connections resume; with another set on either side they do not.
func TestSessions(t *testing.T) {
	p := newPKI(t)
	a, b := newSessions(1), newSessions(2)
	base := p.config()
	for _, c := range []struct {
		client, server *sessions
		resumed        bool
	}{{a, a, false}, {a, a, true}, {a, b, false}, {a, b, true}, {a, a, false}, {b, a, false}} {
		client, server := base.Clone(), p.config()
		c.client.client(client)
		c.server.server(server)
		mine, theirs := ring(t, client, server)
		exchange(t, mine, theirs)
		if got := mine.tls.ConnectionState().DidResume; got != c.resumed {
			t.Fatalf("resumed %v, want %v", got, c.resumed)
		}
	}
}

// at is a connection to an address.
type at struct {
	net.Conn
	addr net.TCPAddr
}

func (c *at) RemoteAddr() net.Addr { return &c.addr }

// Without a server name a session belongs to the peer's address, also when the
// connection is no longer there.
func TestSessionsByAddress(t *testing.T) {
	p := newPKI(t)
	s := newSessions(1)
	for i, port := range []int{1, 1, 2, 1} {
		client, server := p.config(), p.config()
		client.ServerName, client.InsecureSkipVerify = "", true
		s.client(client)
		s.server(server)
		a, b := tcp(t)
		done := make(chan *ours, 1)
		go func() {
			sv, err := startOurs(t, b, server, false)
			if err != nil {
				t.Error(err)
			}
			done <- sv
		}()
		c, err := startOurs(t, &at{a, net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port}}, client, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.r.Resume(c.tls); err != nil {
			t.Fatal(err)
		}
		sv := <-done
		if sv == nil {
			return
		}
		exchange(t, c, sv)
		if got, want := c.tls.ConnectionState().DidResume, i == 1 || i == 3; got != want {
			t.Fatalf("connection %d: resumed %v", i, got)
		}
	}
}

// BenchmarkHandshake is one mutual handshake, both ends, with Take. Its CPU time
// is what counts.
func BenchmarkHandshake(b *testing.B) {
	p := newPKI(b)
	for _, group := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519} {
		for _, resumed := range []bool{false, true} {
			b.Run(group.String()+name("resumed", resumed), func(b *testing.B) {
				s := newSessions(1)
				start := cpu(b)
				for b.Loop() {
					client, server := p.config(), p.config()
					client.CurvePreferences = []tls.CurveID{group}
					if resumed {
						s.client(client)
						s.server(server)
					}
					c, sv := ring(b, client, server)
					exchange(b, c, sv)
					_, _ = c.conn.Close(), sv.conn.Close()
				}
				b.ReportMetric(float64(cpu(b)-start)/float64(b.N)/1e3, "cpu-us/op")
			})
		}
	}
}

// cpu is the process's CPU time.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
