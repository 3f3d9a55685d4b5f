package std_test

import (
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
	"github.com/ambitmesh/ambit/ztunnel/engine/std"
)

func newEngine(_ testing.TB, o enginetest.Options) engine.Engine { return std.New(o) }

func TestEngine(t *testing.T) { enginetest.Run(t, newEngine) }

func BenchmarkEngine(b *testing.B) { enginetest.Bench(b, newEngine) }
