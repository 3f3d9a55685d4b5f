package demo

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// invite prints where to look while the mesh is up.
func (s *shop) invite(w io.Writer) {
	exe, err := os.Executable()
	if err != nil {
		exe = "ambit"
	}
	name, a := s.lab.Name(), s.lab.Node("node-a")
	socket := filepath.Join(a.RunDir(), "ztunnel.sock")
	fmt.Fprintf(w, "\nThe mesh stays up, with a little traffic. From another terminal, as root:\n\n")
	for _, verb := range []string{"status", "connections", "explain shop/web payments.shop.svc.cluster.local 8080", "explain shop/orders payments.shop.svc.cluster.local 8080"} {
		fmt.Fprintf(w, "  %s --lab %s %s\n", exe, name, verb)
	}
	fmt.Fprintf(w, "  curl -s --unix-socket %s http://localhost/metrics | grep istio_tcp\n", socket)
	if z := a.Ztunnel(); z != nil {
		fmt.Fprintf(w, "  nsenter --net=%s curl -s http://127.0.0.1:15020/metrics      # as Prometheus sees it\n", z.NetNS())
	}
	fmt.Fprintf(w, "  nsenter --net=%s bash                                        # a shell in web's network\n", s.web.NetNS())
	fmt.Fprintf(w, "  tail -f %s\n", s.lab.AccessLog("node-a"))
	fmt.Fprintf(w, "\nThe objects are in %s: change one, and the mesh follows.\n", s.lab.ObjectsDir())
	fmt.Fprintf(w, "Ctrl-C ends it and removes everything.\n")
}
