package cni

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambitmesh/ambit/internal/cni"
)

// lookEvery is how often the chain is looked at although nothing was notified.
const lookEvery = 500 * time.Millisecond

// Paths are where the plugin is installed. The directories must exist, except Dir.
type Paths struct {
	BinDir  string // of CNI plugins
	ConfDir string // of CNI configurations
	Dir     string // of socket and list, by the same path on the node
	Plugin  string // the plugin's binary that is copied
}

// Config is the plugin's part of the chain.
func (p Paths) Config() cni.Config {
	return cni.Config{Type: cni.Type, Dir: p.Dir, SavedList: filepath.Join(p.ConfDir, savedList)}
}

// Installer keeps the plugin in the node's chain.
type Installer struct {
	paths Paths
	log   *slog.Logger
	now   func() time.Time

	missing  prometheus.Counter
	restores prometheus.Counter
	chained  prometheus.Gauge

	mu      sync.Mutex
	listed  []string
	ready   chan struct{} // closed when the list was written
	isReady bool
	ended   bool
	quit    chan struct{} // closed when ended
	done    chan struct{} // closed when Run has ended

	// Of Run's goroutine.
	good    time.Time // when the chain was last seen with us in it; zero: never
	saved   time.Time // what of good is on disk
	trouble string
}

// NewInstaller returns an installer that changes nothing until Run.
func NewInstaller(p Paths, log *slog.Logger, now func() time.Time, reg prometheus.Registerer) (*Installer, error) {
	i := &Installer{paths: p, log: log, now: now, good: readSeen(p.ConfDir),
		ready: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{}),
		missing:  prometheus.NewCounter(prometheus.CounterOpts{Name: "ambit_cni_unchained_seconds_total", Help: "Time in which the node's CNI chain was without the mesh's plugin, after it was in it: at most this long, since it counts from when it was last seen whole, by this agent or one before."}),
		restores: prometheus.NewCounter(prometheus.CounterOpts{Name: "ambit_cni_restores_total", Help: "How often the plugin was put back into the node's CNI chain."}),
		chained:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "ambit_cni_chained", Help: "1 if the plugin is in the node's CNI chain."}),
	}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of the plugin's socket: %w", err)
	}
	for _, c := range []prometheus.Collector{i.missing, i.restores, i.chained} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return i, nil
}

// List writes which namespaces are in the mesh, where the plugin reads it.
func (i *Installer) List(namespaces []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	namespaces = slices.Sorted(slices.Values(namespaces))
	if i.ended || i.isReady && slices.Equal(namespaces, i.listed) {
		return
	}
	err := errors.Join(cni.WriteList(filepath.Join(i.paths.Dir, cni.ListName), namespaces),
		cni.WriteList(filepath.Join(i.paths.ConfDir, savedList), namespaces))
	if err != nil {
		i.log.Error("write list of namespaces; new pods of others are not held", "error", err)
		return
	}
	i.listed = namespaces
	if !i.isReady {
		i.isReady = true
		close(i.ready)
	}
}

// Run installs the plugin once there is a list, and puts it back whenever the primary's installer takes
// it out, until ctx ends. It leaves it in place: pods must not start around the mesh. Call it once.
func (i *Installer) Run(ctx context.Context) error {
	defer close(i.done)
	select {
	case <-i.ready:
	case <-i.quit:
		return nil
	case <-ctx.Done():
		return nil
	}
	var events <-chan fsnotify.Event
	if w, err := fsnotify.NewWatcher(); err == nil {
		defer w.Close() // ends its goroutine
		if err := w.Add(i.paths.ConfDir); err == nil {
			events = w.Events
		}
	} // without it, changes are seen by looking
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		i.look()
		select {
		case <-i.quit:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-events:
		}
	}
}

// Uninstall ends Run, then takes everything out. There is no way back.
func (i *Installer) Uninstall() error {
	i.mu.Lock()
	if !i.ended {
		i.ended = true
		close(i.quit)
	}
	i.mu.Unlock()
	<-i.done
	return Uninstall(i.paths)
}

// look makes everything as it should be.
func (i *Installer) look() {
	err := copyBinary(i.paths.Plugin, i.paths.BinDir)
	var file string
	var changed bool
	if err == nil { // a chain with a plugin that is not there would let no pod start
		file, changed, err = chainIn(i.paths.ConfDir, i.paths.Config())
	}
	now := i.now()
	if err != nil {
		i.chained.Set(0)
		i.lost(now)
		if i.trouble != err.Error() {
			i.log.Warn("CNI plugin is not in the node's chain", "error", err)
			i.trouble = err.Error()
		}
		return
	}
	if changed && i.good.IsZero() {
		i.log.Info("CNI plugin installed", "file", file)
	} else if changed {
		i.restores.Inc()
		i.lost(now)
		i.log.Warn("CNI plugin was not in the node's chain and is again", "file", file, "seconds", now.Sub(i.good).Seconds())
	}
	i.chained.Set(1)
	i.good, i.trouble = now, ""
	i.save(now)
}

// save notes that the chain was seen whole, for the next agent.
func (i *Installer) save(now time.Time) {
	if !i.saved.IsZero() && now.Sub(i.saved).Abs() < saveEvery {
		return
	}
	if err := writeSeen(i.paths.ConfDir, now); err != nil {
		i.log.Warn("note that the CNI chain is whole", "error", err)
	}
	i.saved = now
}

// lost counts the time since the chain was last seen complete.
func (i *Installer) lost(now time.Time) {
	if !i.good.IsZero() && now.After(i.good) {
		i.missing.Add(now.Sub(i.good).Seconds())
		i.good = now
	}
}
