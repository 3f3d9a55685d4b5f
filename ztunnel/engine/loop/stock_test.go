package loop

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"
)

// TestStock: as many sockets are made in a visit as were asked for lately, and a quiet pod keeps none.
func TestStock(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("entering a network namespace needs root")
	}
	home, err := netsock.OpenHome()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	e, err := New(engine.Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	p := newPod(e, &engine.Pod{NetNS: home})
	sh := &p.stock.shelf[0]
	most := 0
	for range 100 {
		fd, err := p.socket(nil, unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		most = max(most, len(sh.fds))
	}
	if most != mostMade-1 {
		t.Errorf("at most %d in stock", most)
	}
	p.stock.shrink()
	p.stock.shrink()
	if len(sh.fds) != 0 {
		t.Errorf("%d in stock of a quiet pod", len(sh.fds))
	}
	fd, err := p.socket(nil, unix.AF_INET6)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); domain != unix.AF_INET6 {
		t.Errorf("of family %d", domain)
	}
	if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err != nil || l.Onoff != 1 || l.Linger != 0 {
		t.Errorf("does not end by a reset: %+v, %v", l, err)
	}
	p.stock.close()
}
