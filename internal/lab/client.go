package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"

	"github.com/ambitmesh/ambit/internal/lab/app"
)

// App is the lab's program running in a pod or on a node.
type App struct {
	*Process
	rpc *rpc.Client
}

// App is the pod's program, started at the first call.
func (p *Pod) App() (*App, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.app != nil {
		return p.app, nil
	}
	if p.gone {
		return nil, fmt.Errorf("pod %s is deleted", p.FullName())
	}
	a, err := p.StartApp("")
	p.app = a
	return a, err
}

// StartApp starts the lab's program in the host, in another cgroup than its own unless that is "".
func (h *Host) StartApp(cgroup string) (*App, error) {
	in, toApp, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer in.Close()
	fromApp, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make pipe: %w", err), toApp.Close())
	}
	defer out.Close()
	p, err := h.Start(Command{Args: append(h.lab.opts.App, "control"), Stdin: in, Stdout: out, Log: "app-" + h.Name, Cgroup: cgroup})
	if err != nil {
		return nil, errors.Join(err, toApp.Close(), fromApp.Close())
	}
	return &App{Process: p, rpc: jsonrpc.NewClient(pipes{fromApp, toApp})}, nil
}

type pipes struct {
	io.ReadCloser
	w io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.w.Close(), p.ReadCloser.Close()) }

func (a *App) close() error { return a.rpc.Close() }

// Close ends the program.
func (a *App) Close() error { return errors.Join(a.Kill(), a.close()) }

// Call calls a method of app.Control.
func (a *App) Call(ctx context.Context, method string, args, out any) error {
	c := a.rpc.Go(app.Service+"."+method, args, out, make(chan *rpc.Call, 1))
	select {
	case <-c.Done:
		if errors.Is(c.Error, rpc.ErrShutdown) || errors.Is(c.Error, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s: the app ended: %w%s", method, c.Error, a.tail())
		}
		return c.Error
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

func call[T any](ctx context.Context, a *App, method string, args any) (T, error) {
	var out T
	err := a.Call(ctx, method, args, &out)
	return out, err
}

// Listen opens a listener.
func (a *App) Listen(ctx context.Context, l app.ListenArgs) (app.Listening, error) {
	return call[app.Listening](ctx, a, "Listen", &l)
}

// Unlisten closes one.
func (a *App) Unlisten(ctx context.Context, id int) error {
	_, err := call[struct{}](ctx, a, "Unlisten", &app.Ref{ID: id})
	return err
}

// UnlistenPort closes the listeners on a port.
func (a *App) UnlistenPort(ctx context.Context, port int) error {
	_, err := call[struct{}](ctx, a, "UnlistenPort", &app.PortRef{Port: port})
	return err
}

// Stats tells what a listener has seen.
func (a *App) Stats(ctx context.Context, id int) (app.ListenerStats, error) {
	return call[app.ListenerStats](ctx, a, "Stats", &app.Ref{ID: id})
}

// Bulk moves bytes and checks them.
func (a *App) Bulk(ctx context.Context, b app.BulkArgs) (app.BulkReport, error) {
	return call[app.BulkReport](ctx, a, "Bulk", &b)
}

// Get makes one HTTP request.
func (a *App) Get(ctx context.Context, url string) (app.Got, error) {
	return call[app.Got](ctx, a, "Get", &app.GetArgs{URL: url})
}

// Garbage throws bytes at an address.
func (a *App) Garbage(ctx context.Context, g app.GarbageArgs) (app.Report, error) {
	return call[app.Report](ctx, a, "Garbage", &g)
}

// Many opens many connections at once.
func (a *App) Many(ctx context.Context, m app.ManyArgs) (app.Group, error) {
	return call[app.Group](ctx, a, "Many", &m)
}

// GroupPing pings all of a group.
func (a *App) GroupPing(ctx context.Context, id int) (app.Report, error) {
	return call[app.Report](ctx, a, "GroupPing", &app.Ref{ID: id})
}

// GroupClose closes all of a group.
func (a *App) GroupClose(ctx context.Context, id int) error {
	_, err := call[struct{}](ctx, a, "GroupClose", &app.Ref{ID: id})
	return err
}
