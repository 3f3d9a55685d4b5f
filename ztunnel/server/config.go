// Package server puts a node's proxy together: engine and decider in the middle, the agent, the
// controller and the admin pages around them, and the order in which all of it starts and ends.
//
// Privileges. The process enters pods' network namespaces (CAP_SYS_ADMIN), and in them binds foreign
// addresses, sets marks and reads what the kernel knows of connections (CAP_NET_ADMIN). It needs no
// capability towards files beyond its run directory, and none to look at other processes. Its own
// memory is closed to others (PR_SET_DUMPABLE), so an agent in a container needs CAP_SYS_PTRACE to look
// at the proxy's network namespace.
package server

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/ztunnel/decide"
)

// Config is what a proxy is started with. An empty address or path switches off what it is for, unless
// it says otherwise.
type Config struct {
	Node           string // name of this node; required
	RunDir         string // admin socket and snapshot; required
	ZDS            string // the agent's socket; required
	Controller     string // host:port; required
	ControllerRoot string // PEM file by which the controller is trusted; required
	JoinTokenFile  string // exchanged once for a certificate of the node
	TokenFile      string // of the service account, instead: shown at each call
	ControllerName string // DNS name in the certificate of another control plane; with TokenFile
	PodName        string // of the proxy itself; "": Node
	PodNamespace   string // "": ambit-system
	PodIP          string // "": the one that packets to the controller have
	TrustDomain    string
	ClusterID      string
	MetricsAddr    string
	ReadyAddr      string
	AdminAddr      string // loopback
	DrainTime      time.Duration
	SameNode       decide.SameNode
	Engine         EngineKind    // "": Std
	BusyPoll       time.Duration // engine.Options.Watch; 0: never
	TLSResumption  bool          // also of sessions that peers have made
	AccessLog      string        // a file, "-" for standard output, or "off"
	Pprof          bool

	Version  string
	Level    *slog.LevelVar
	Log      *slog.Logger
	Registry *prometheus.Registry
	Now      func() time.Time // nil: time.Now
}

func (c Config) adminSocket() string  { return filepath.Join(c.RunDir, "ztunnel.sock") }
func (c Config) snapshotFile() string { return filepath.Join(c.RunDir, "ztunnel-snapshot") }

// settings is what /config_dump shows.
func (s *Server) settings() map[string]any {
	c := s.cfg
	return map[string]any{
		"node": c.Node, "instance": s.instance, "engine": string(s.kind), "runDir": c.RunDir, "zds": c.ZDS, "controller": c.Controller,
		"trustDomain": c.TrustDomain, "clusterId": c.ClusterID, "metricsAddr": c.MetricsAddr, "readyAddr": c.ReadyAddr,
		"adminAddr": c.AdminAddr, "drainTime": c.DrainTime.String(), "sameNode": string(c.SameNode), "accessLog": c.AccessLog, "tlsResumption": c.TLSResumption,
		"busyPoll": c.BusyPoll.String(),
	}
}
