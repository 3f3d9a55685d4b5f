package server

import (
	"cmp"
	"crypto/fips140"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/ztunnel/engine"
	"github.com/ambitmesh/ambit/ztunnel/engine/loop"
	"github.com/ambitmesh/ambit/ztunnel/engine/std"
)

// EngineKind names what carries bytes.
type EngineKind string

// The kinds of engines.
const (
	Std  EngineKind = "std"  // goroutines and crypto/tls
	Loop EngineKind = "loop" // event loops and an own record layer
)

// kind is the engine to use: std in FIPS 140-3 mode, which knows no record layer but crypto/tls's.
func (c Config) kind() EngineKind {
	k := cmp.Or(c.Engine, Std)
	if k == Loop && fips140.Enabled() {
		c.Log.Warn("in FIPS 140-3 mode the std engine is used", "asked_for", k)
		return Std
	}
	return k
}

// makeEngine makes what carries, and tells by metrics what it is and how it shakes hands.
func (s *Server) makeEngine() error {
	s.kind = s.cfg.kind()
	shakes, err := newShakes(s.cfg.Registry)
	if err != nil {
		return err
	}
	o := engine.Options{
		Decider: s.decider, Certs: s.certs, TrustDomain: s.cfg.TrustDomain, Log: s.cfg.Log, Now: s.cfg.Now,
		Resume: s.cfg.TLSResumption, Handshake: shakes.count, Watch: cmp.Or(s.cfg.BusyPoll, -1),
	}
	switch s.kind {
	case Std:
		s.engine = std.New(o)
	case Loop:
		e, err := loop.New(o)
		if err != nil {
			return fmt.Errorf("loop engine: %w", err)
		}
		s.engine = e
	default:
		return fmt.Errorf("engine %q: want %s or %s", s.kind, Std, Loop)
	}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "ambit_ztunnel_info", Help: "1, with the version and the engine that carries connections (std or loop).",
	}, []string{"engine", "version"})
	info.WithLabelValues(string(s.kind), s.cfg.Version).Set(1)
	return s.cfg.Registry.Register(info)
}
