package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/ambitmesh/ambit/ztunnel/admin"
)

// Run works until terminate is closed; then it drains, for DrainTime at most, and returns nil. When ctx
// ends it cuts everything at once and returns the cause. It is to be called once.
func (s *Server) Run(ctx context.Context, terminate <-chan struct{}) error {
	defer s.close()
	s.saver.load()
	live, end := context.WithCancel(context.Background())
	defer end()
	g, live := errgroup.WithContext(live)
	if err := s.listen(live, g); err != nil {
		end()
		return errors.Join(err, g.Wait())
	}
	if s.node != nil {
		g.Go(func() error { s.node.Run(live); return nil })
	}
	g.Go(func() error { s.certs.Run(live); return nil })
	g.Go(func() error { return s.xds.Run(live) })
	g.Go(func() error { s.zds.Run(live); return nil })
	g.Go(func() error { s.watcher.Run(live); return nil })
	if s.direct != nil {
		g.Go(func() error { s.direct.Run(live); return nil })
	}
	g.Go(func() error { s.saver.run(live, s.drain.started); return nil })
	s.cfg.Log.Info("proxy has started", "node", s.cfg.Node, "instance", s.instance, "version", s.cfg.Version, "engine", s.kind)
	select {
	case <-terminate:
		s.cfg.Log.Info("draining", "limit", s.cfg.DrainTime)
		s.drain.begin()
		s.drain.finish(ctx, s.cfg.DrainTime)
	case <-ctx.Done():
	case <-live.Done(): // a part has failed
	}
	end()
	return errors.Join(g.Wait(), context.Cause(ctx))
}

// listen opens the admin socket and the addresses. The latter close when a newer proxy takes over, so
// that scrapers and probes reach that one.
func (s *Server) listen(ctx context.Context, g *errgroup.Group) error {
	sock, err := admin.ListenUnix(s.cfg.adminSocket())
	if err != nil {
		return err
	}
	g.Go(func() error { return admin.Serve(ctx, sock, s.admin.Handler()) })
	public, stop := context.WithCancel(ctx)
	g.Go(func() error {
		defer stop()
		select {
		case <-s.drain.replaced:
		case <-ctx.Done():
		}
		return nil
	})
	for _, x := range []struct {
		flag, addr string
		handler    http.Handler
	}{
		{"--metrics-addr", s.cfg.MetricsAddr, s.admin.ScrapeMux()},
		{"--ready-addr", s.cfg.ReadyAddr, s.admin.ReadyMux()},
		{"--admin-addr", s.cfg.AdminAddr, s.admin.Loopback()},
	} {
		if x.addr == "" {
			continue
		}
		var l net.Listener
		if l, err = admin.ListenTCP(ctx, x.addr); err != nil {
			return fmt.Errorf("%s: %w", x.flag, err)
		}
		g.Go(func() error { return admin.Serve(public, l, x.handler) })
	}
	return nil
}

// ready says why the proxy is not, or nil.
func (s *Server) ready() error {
	switch {
	case s.drain.begun():
		return errDraining
	case !s.store.Snapshot().Synced():
		return errors.New("the controller has not answered completely yet, and there is no saved snapshot")
	case !s.pods.Synced():
		return errors.New("the agent is not connected, or has not named all its pods yet")
	}
	return nil
}

// superseded makes room for a newer proxy.
func (s *Server) superseded() {
	s.drain.begin()
	s.drain.replace()
}

// close gives up everything, in the order of use: no connection may outlive what it needs.
func (s *Server) close() {
	if !s.drain.begun() {
		if err := s.engine.Close(); err != nil {
			s.cfg.Log.Warn("close engine", "error", err)
		}
	} else {
		s.drain.cut()
		<-s.drain.done
	}
	s.pods.Close()
	s.certs.Close()
	if err := s.log.Close(); err != nil {
		s.cfg.Log.Warn("close access log", "error", err)
	}
}

// MakeRunDir makes the run directory if there is none.
func MakeRunDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return nil
}
