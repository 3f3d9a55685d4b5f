package server

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// shakes counts TLS handshakes. Its series are there from the start, by role and by whether a session was
// resumed.
type shakes struct {
	client, server [2]prometheus.Counter // full, resumed
}

func newShakes(reg prometheus.Registerer) (*shakes, error) {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ambit_handshakes_total", Help: "TLS handshakes that succeeded, by our role (client or server) and by whether an earlier session was resumed.",
	}, []string{"role", "resumed"})
	if err := reg.Register(v); err != nil {
		return nil, fmt.Errorf("register metrics of handshakes: %w", err)
	}
	both := func(role string) [2]prometheus.Counter {
		return [2]prometheus.Counter{v.WithLabelValues(role, "false"), v.WithLabelValues(role, "true")}
	}
	return &shakes{client: both("client"), server: both("server")}, nil
}

// count is engines' Options.Handshake.
func (s *shakes) count(client, resumed bool) {
	by := &s.server
	if client {
		by = &s.client
	}
	if resumed {
		by[1].Inc()
		return
	}
	by[0].Inc()
}
