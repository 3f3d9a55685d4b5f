package istio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/ambitmesh/ambit/agent/zds"
	"github.com/ambitmesh/ambit/internal/identity"
	"github.com/ambitmesh/ambit/internal/lab"
	pb "github.com/ambitmesh/ambit/internal/meshpb/zds"
)

// pods is the node agent's side of ZDS version 1: it tells the one ztunnel which pods it serves.
type pods struct {
	ready chan struct{} // closed when a ztunnel has a session

	mu      sync.Mutex
	session *zds.Session
}

func servePods(life context.Context, socket string, tasks *sync.WaitGroup) (*pods, error) {
	l, err := zds.Listen(socket)
	if err != nil {
		return nil, err
	}
	p := &pods{ready: make(chan struct{})}
	s := &zds.Server{Log: slog.New(slog.DiscardHandler), Handler: p, Now: time.Now, Refused: func() {}}
	tasks.Go(func() { s.Run(life, l) }) // ends with life; else the ztunnel's silence tells
	return p, nil
}

// Admit implements zds.Handler.
func (p *pods) Admit(zds.Peer) error { return nil }

// Serve implements zds.Handler: the first ztunnel is the only one.
func (p *pods) Serve(ctx context.Context, s *zds.Session) {
	if s.Hello.Version != 1 || !p.take(s) {
		return
	}
	sent := &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_SnapshotSent{SnapshotSent: &pb.SnapshotSent{}}}
	if _, _, err := s.Do(ctx, sent); err != nil {
		return
	}
	close(p.ready)
	select {
	case <-ctx.Done():
	case <-s.Done():
	}
}

func (p *pods) take(s *zds.Session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != nil {
		return false
	}
	p.session = s
	return true
}

// add hands a pod to the ztunnel, which answers once it serves it.
func (p *pods) add(ctx context.Context, pod *lab.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case <-p.ready:
	case <-ctx.Done():
		return fmt.Errorf("wait for ztunnel on ZDS: %w", ctx.Err())
	}
	id, err := identity.Parse(pod.Identity())
	if err != nil {
		return err
	}
	ns, err := os.Open(pod.NetNS())
	if err != nil {
		return fmt.Errorf("open namespace of %s: %w", pod.FullName(), err)
	}
	info := &pb.WorkloadInfo{Name: pod.Name, Namespace: pod.Namespace, ServiceAccount: id.ServiceAccount}
	add := &pb.WorkloadRequest{Payload: &pb.WorkloadRequest_Add{Add: &pb.AddWorkload{Uid: pod.UID, WorkloadInfo: info}}}
	_, _, err = p.session.Do(ctx, add, int(ns.Fd()))
	if err = errors.Join(err, ns.Close()); err != nil {
		return fmt.Errorf("hand %s to ztunnel: %w", pod.FullName(), err)
	}
	return nil
}
