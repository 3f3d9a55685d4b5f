package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/lab/app"
)

// Conn is a connection that an App holds.
type Conn struct {
	app.Dialed
	app *App
}

// Dial opens a connection.
func (a *App) Dial(ctx context.Context, d app.DialArgs) (*Conn, error) {
	x, err := call[app.Dialed](ctx, a, "Dial", &d)
	if err != nil {
		return nil, err
	}
	return &Conn{x, a}, nil
}

// To opens a connection to an address.
func (a *App) To(ctx context.Context, address string) (*Conn, error) {
	return a.Dial(ctx, app.DialArgs{Address: address})
}

func (c *Conn) do(ctx context.Context, method string, io app.IO) error {
	io.ID = c.ID
	_, err := call[struct{}](ctx, c.app, method, &io)
	return err
}

// Write sends bytes.
func (c *Conn) Write(ctx context.Context, b []byte) error {
	return c.do(ctx, "Write", app.IO{Data: b})
}

// Ping sends bytes and expects them back.
func (c *Conn) Ping(ctx context.Context, b ...byte) error {
	return c.do(ctx, "Ping", app.IO{Data: b})
}

// CloseWrite half-closes.
func (c *Conn) CloseWrite(ctx context.Context) error { return c.do(ctx, "CloseWrite", app.IO{}) }

// Close closes.
func (c *Conn) Close(ctx context.Context) error { return c.do(ctx, "Close", app.IO{}) }

// Reset closes by a TCP reset.
func (c *Conn) Reset(ctx context.Context) error { return c.do(ctx, "Reset", app.IO{}) }

// Read reads n bytes; 0: one line; -1: to the end.
func (c *Conn) Read(ctx context.Context, n int) ([]byte, error) {
	a, err := call[app.Answer](ctx, c.app, "Read", &app.IO{ID: c.ID, N: n})
	return a.Data, err
}

// Ended waits at most limit for the other side to end the connection, and says how.
func (c *Conn) Ended(ctx context.Context, limit time.Duration) (string, error) {
	return call[string](ctx, c.app, "Ended", &app.IO{ID: c.ID, Timeout: limit})
}

// BannerLine is what a server that speaks first says.
type BannerLine struct{ Remote, Local, Name string }

// Banner reads a server's first line: the addresses it sees and its name.
func (c *Conn) Banner(ctx context.Context) (BannerLine, error) {
	b, err := c.Read(ctx, 0)
	if err != nil {
		return BannerLine{}, fmt.Errorf("read banner: %w", err)
	}
	f := strings.Fields(string(b))
	if len(f) != 3 {
		return BannerLine{}, fmt.Errorf("banner %q", b)
	}
	return BannerLine{f[0], f[1], f[2]}, nil
}

// Loop is traffic that an App makes.
type Loop struct {
	id  int
	app *App
}

// Loop starts traffic.
func (a *App) Loop(ctx context.Context, l app.LoopArgs) (*Loop, error) {
	r, err := call[app.Ref](ctx, a, "LoopStart", &l)
	if err != nil {
		return nil, err
	}
	return &Loop{r.ID, a}, nil
}

// Report counts so far.
func (l *Loop) Report(ctx context.Context) (app.Report, error) {
	return call[app.Report](ctx, l.app, "LoopReport", &app.Ref{ID: l.id})
}

// Stop ends the traffic and counts.
func (l *Loop) Stop(ctx context.Context) (app.Report, error) {
	return call[app.Report](ctx, l.app, "LoopStop", &app.Ref{ID: l.id})
}
