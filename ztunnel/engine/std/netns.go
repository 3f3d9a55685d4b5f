package std

import "github.com/ambitmesh/ambit/ztunnel/engine/internal/netsock"

// socket makes a non-blocking TCP socket in the pod's namespace.
func (p *pod) socket(family int) (int, error) {
	return netsock.NewIn(p.NetNS, p.e.home, family)
}
