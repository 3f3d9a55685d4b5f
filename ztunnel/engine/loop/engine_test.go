package loop_test

import (
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop"
	"github.com/ambitmesh/ambit/ztunnel/engine/std"
)

func newEngine(t testing.TB, o enginetest.Options) engine.Engine {
	e, err := loop.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newStd(_ testing.TB, o enginetest.Options) engine.Engine { return std.New(o) }

func TestEngine(t *testing.T) { enginetest.Run(t, newEngine) }

// TestWithStd: what either engine says the other understands.
func TestWithStd(t *testing.T) {
	t.Run("client", func(t *testing.T) { enginetest.RunPair(t, newEngine, newStd) })
	t.Run("server", func(t *testing.T) { enginetest.RunPair(t, newStd, newEngine) })
}

func BenchmarkEngine(b *testing.B) { enginetest.Bench(b, newEngine) }
