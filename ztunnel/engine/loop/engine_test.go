package loop_test

import (
	"testing"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/enginetest"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop"
)

func newEngine(t testing.TB, o enginetest.Options) engine.Engine {
	e, err := loop.New(loop.Options{Decider: o.Decider, Certs: o.Certs, TrustDomain: o.TrustDomain, Log: o.Log, Now: o.Now,
		DialTimeout: o.DialTimeout, HandshakeTimeout: o.HandshakeTimeout, CertWait: o.CertWait, IdleTunnel: o.IdleTunnel})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEngine(t *testing.T) { enginetest.Run(t, newEngine) }

func BenchmarkEngine(b *testing.B) { enginetest.Bench(b, newEngine) }
