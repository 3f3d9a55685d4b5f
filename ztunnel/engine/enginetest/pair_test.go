package enginetest_test

import (
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop"
	"github.com/ambitmesh/ambit/ztunnel/engine/std"
)

func newStd(_ testing.TB, o enginetest.Options) engine.Engine { return std.New(std.Options(o)) }

func newLoop(t testing.TB, o enginetest.Options) engine.Engine {
	e, err := loop.New(loop.Options{Decider: o.Decider, Certs: o.Certs, TrustDomain: o.TrustDomain, Log: o.Log, Now: o.Now,
		DialTimeout: o.DialTimeout, HandshakeTimeout: o.HandshakeTimeout, CertWait: o.CertWait, IdleTunnel: o.IdleTunnel})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The engines speak to each other as each does to its own kind.

func TestStdToLoop(t *testing.T) { enginetest.RunPair(t, newStd, newLoop) }

func TestLoopToStd(t *testing.T) { enginetest.RunPair(t, newLoop, newStd) }
