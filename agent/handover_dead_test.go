package agent

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ambitmesh/ambit/agent/zds"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// guests admits every proxy and shows its session, once it has ended.
type guests chan *zds.Session

func (guests) Admit(zds.Peer) error { return nil }

func (g guests) Serve(_ context.Context, s *zds.Session) {
	<-s.Done()
	g <- s
}

// TestDeadHeir: the newer of two proxies called a restarted agent and died before the older one did: what the
// older one still holds is for whoever comes next.
func TestDeadHeir(t *testing.T) {
	h := &heirs{t, map[string]*os.File{}, map[string][]uint64{}}
	heir, older, next := h.proxy("new", 2), h.proxy("old", 1), h.proxy("next", 3)
	heir.Session = dead(t, "new")
	v := vault{fd: -1}
	defer v.close()
	for _, s := range []*session{heir, older, next} {
		v.pass(s, h.hand)
	}
	want := h.inode(h.own["old"])
	if got := h.given["next"]; len(got) != 1 || got[0] != want {
		t.Errorf("the next one was given %v, not %d", got, want)
	}
	if len(h.given["new"])+len(h.given["old"]) != 0 {
		t.Errorf("others were given %v", h.given)
	}
}

// dead returns a session whose proxy has gone.
func dead(t *testing.T, instance string) *zds.Session {
	t.Helper()
	path, ended := filepath.Join(t.TempDir(), "zds", "zds.sock"), make(guests, 1)
	l, err := zds.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	run := make(chan error, 1)
	s := &zds.Server{Log: slog.New(slog.DiscardHandler), Handler: ended, Now: time.Now, Refused: func() {}}
	go func() { run <- s.Run(ctx, l) }()
	call(t, path, instance)
	gone := <-ended
	stop()
	if err := <-run; err != nil {
		t.Error(err)
	}
	return gone
}

// call says hello, and no more.
func call(t *testing.T, path, instance string) {
	t.Helper()
	hello, err := proto.Marshal(&pb.ZdsHello{Version: pb.Version_V2, Instance: instance})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(hello); err != nil {
		t.Fatal(err)
	}
}
