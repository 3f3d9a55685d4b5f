package server

import (
	"errors"
	"os"

	"github.com/ambitmesh/ambit/ztunnel/pods"
	"github.com/ambitmesh/ambit/ztunnel/zds"
)

// handler answers the agent: pods are the registry's.
type handler struct {
	*pods.Registry
	server *Server
}

var errDraining = errors.New("this proxy drains")

// Add serves a pod, unless a newer proxy has taken over.
func (h *handler) Add(p zds.Pod) error {
	if h.server.drain.begun() {
		p.Close()
		return errDraining
	}
	return h.Registry.Add(p)
}

// SnapshotSent also forgets what was inherited for pods that are no longer there.
func (h *handler) SnapshotSent() error {
	h.server.certs.Forget()
	return h.Registry.SnapshotSent()
}

// Inherit passes certificates on from one process to the next.
func (h *handler) Inherit(old *os.File) (*os.File, error) { return h.server.certs.Inherit(old) }

// Drain makes room for a newer proxy: nothing is accepted any more, and what there is lives on.
func (h *handler) Drain() error {
	h.server.cfg.Log.Info("a newer proxy has taken over")
	h.server.superseded()
	return nil
}
