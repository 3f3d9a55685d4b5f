package loop

import (
	"github.com/ambitmesh/ambit/internal/reason"
	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/internal/outcome"
)

// acceptPeer is not there yet.
func (e *Engine) acceptPeer(p *pod, fd int, r *engine.Record) {
	closeSocket(fd, true)
	e.report(r, outcome.End{Reason: reason.Internal})
	e.finish(p)
}
