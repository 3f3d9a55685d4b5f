package loop

import (
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

func TestPorts(t *testing.T) {
	enginetest.RunPorts(t, func(t testing.TB, o enginetest.Options, port func(int) uint16) engine.Engine {
		e, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		e.port = port
		return e
	})
}
