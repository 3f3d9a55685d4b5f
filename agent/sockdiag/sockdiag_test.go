package sockdiag

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/ambitmesh/ambit/agent/netns"
)

func TestListAndDestroy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: ends connections by netlink")
	}
	ns, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	c, err := Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		exchange(t, client, server)
		from, to := netip.MustParseAddrPort(client.LocalAddr().String()), netip.MustParseAddrPort(client.RemoteAddr().String())
		var seen []Socket
		if err := c.Each(func(s Socket) {
			if s.From == from && s.To == to {
				seen = append(seen, s)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(seen) != 1 {
			t.Fatalf("%d sockets %s to %s", len(seen), from, to)
		}
		if sent, received := seen[0].Bytes(); sent != 5 || received != 3 {
			t.Errorf("sent %d received %d, want 5 and 3", sent, received)
		}
		if found, err := c.Destroy(from, to); !found || err != nil {
			t.Fatalf("destroy: %v %v", found, err)
		}
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Error("the connection lives")
		}
		for _, ends := range [][2]netip.AddrPort{{from, to}, {to, from}} { // the listener fits the latter, too
			if found, err := c.Destroy(ends[0], ends[1]); found || err != nil {
				t.Errorf("destroy again: %v %v", found, err)
			}
		}
		again, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("the listener is gone: %v", err)
		}
		again.Close()
	}
}

func exchange(t *testing.T, client, server net.Conn) {
	t.Helper()
	b := make([]byte, 8)
	for _, err := range []error{write(client, "hello"), read(server, b[:5]), write(server, "abc"), read(client, b[:3])} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(c net.Conn, s string) error { _, err := c.Write([]byte(s)); return err }
func read(c net.Conn, b []byte) error  { _, err := c.Read(b); return err }

func FuzzParse(f *testing.F) {
	f.Add(make([]byte, sizeofMsg))
	f.Add(append(make([]byte, sizeofMsg), 4, 0, 2, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parse(b); ok {
			if !s.From.IsValid() || !s.To.IsValid() {
				t.Errorf("accepted %+v", s)
			}
			s.Bytes()
		}
	})
}
