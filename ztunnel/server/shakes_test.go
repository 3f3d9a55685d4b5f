package server

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestShakes(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := newShakes(reg)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ client, resumed bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		for range i + 1 {
			s.count(c.client, c.resumed)
		}
	}
	want := `
# HELP ambit_handshakes_total TLS handshakes that succeeded, by our role (client or server) and by whether an earlier session was resumed.
# TYPE ambit_handshakes_total counter
ambit_handshakes_total{resumed="true",role="client"} 1
ambit_handshakes_total{resumed="false",role="client"} 2
ambit_handshakes_total{resumed="true",role="server"} 3
ambit_handshakes_total{resumed="false",role="server"} 4
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if _, err := newShakes(reg); err == nil {
		t.Error("registered twice")
	}
}
