package netns

import (
	"testing"

	"github.com/ambitmesh/ambit/internal/lab"
)

// TestServerStartsAgain has a server listen anew while connections to its port are with the proxy: what the proxy
// accepted has the server's port, too.
func TestServerStartsAgain(t *testing.T) {
	s := newShop(t, lab.Options{})
	for _, to := range []*lab.Pod{s.near, s.far} {
		var held []*lab.Conn
		for _, from := range []*lab.Pod{s.client, s.plainClient} {
			held = append(held, hold(t, from, to)...)
		}
		a, again := program(t, to), servers[portEcho]
		again.Port, again.Name = portEcho, to.FullName()
		must(t, a.UnlistenPort(ctx(t), portEcho))
		_, err := a.Listen(ctx(t), again)
		must(t, err)
		closeAll(t, held)
		closeAll(t, hold(t, s.client, to))
	}
}
