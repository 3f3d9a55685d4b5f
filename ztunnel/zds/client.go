package zds

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// Client follows the agent on a socket. All fields but the back-off are required.
type Client struct {
	Path       string
	Instance   string // random for each process
	Build      string
	Handler    Handler
	Log        *slog.Logger
	MinBackoff time.Duration // 0: 10 ms
	MaxBackoff time.Duration // 0: 1 s, since pods wait for the session and a try costs nothing

	last atomic.Bool
	said string // the last error, while nothing was served since
}

// Last makes the session that stands the last one: a proxy that drains must not become the newest
// proxy of an agent that comes back.
func (c *Client) Last() { c.last.Store(true) }

// Run connects, and again with back-off whenever the session ends, until ctx does or Last was called.
// While there is no session the handler keeps what it has.
func (c *Client) Run(ctx context.Context) {
	least, most := c.MinBackoff, c.MaxBackoff
	if least == 0 {
		least = 10 * time.Millisecond
	}
	if most == 0 {
		most = time.Second
	}
	for wait := least; ctx.Err() == nil && !c.last.Load(); {
		served, err := c.session(ctx)
		if ctx.Err() != nil || c.last.Load() {
			break
		}
		if served {
			wait, c.said = least, ""
		}
		c.note(ctx, err)
		sleep(ctx, wait/2+rand.N(wait/2+1))
		wait = min(2*wait, most)
	}
}

// note logs why there is no session, each reason once: an agent may be away for long.
func (c *Client) note(ctx context.Context, err error) {
	level := slog.LevelWarn
	if text := err.Error(); text == c.said {
		level = slog.LevelDebug
	} else {
		c.said = text
	}
	c.Log.Log(ctx, level, "no session with the agent", "socket", c.Path, "error", err)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// session connects, says Hello and answers until the connection ends. served says whether anything
// was asked.
func (c *Client) session(ctx context.Context) (served bool, err error) {
	var d net.Dialer
	uc, err := d.DialUnix(ctx, "unixpacket", nil, &net.UnixAddr{Name: c.Path, Net: "unixpacket"})
	if err != nil {
		return false, fmt.Errorf("connect to agent: %w", err)
	}
	defer uc.Close()
	stop := context.AfterFunc(ctx, func() { uc.Close() })
	defer stop()
	hello := &pb.ZdsHello{Version: pb.Version_V2, Instance: c.Instance, Build: c.Build}
	if err := send(uc, hello, nil); err != nil {
		return false, fmt.Errorf("greet the agent: %w", err)
	}
	s := &session{conn: uc, handler: c.Handler}
	err = s.run()
	return s.served, err
}
