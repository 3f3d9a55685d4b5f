package server

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ambitmesh/ambit/ztunnel/pods"
	"github.com/ambitmesh/ambit/ztunnel/zds"
)

// handler answers the agent: pods are the registry's.
type handler struct {
	*pods.Registry
	server *Server
}

var errProxied = errors.New("connections between pods go through this proxy")

// Direct takes over what it takes to let connections go past this proxy.
func (h *handler) Direct(gate, channel int) error {
	if h.server.direct == nil {
		return errors.Join(errProxied, unix.Close(gate), unix.Close(channel))
	}
	return h.server.direct.Open(gate, channel)
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
