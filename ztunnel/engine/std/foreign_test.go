package std

import (
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
)

func TestPorts(t *testing.T) {
	enginetest.RunPorts(t, func(_ testing.TB, o enginetest.Options, port func(int) uint16) engine.Engine {
		e := New(o)
		e.port = port
		return e
	})
}
