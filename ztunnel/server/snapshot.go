package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ambitmesh/ambit/internal/mesh"
)

// A policy that is not on disk yet is lost with the process. So small snapshots are written at once,
// large ones at most every second: writing must not take more than a twentieth of a core.
const (
	saveShare = 20
	saveEvery = time.Second
)

// saver keeps the last accepted snapshot in a file, for a start without a controller.
type saver struct {
	path  string
	store *mesh.Store
	log   *slog.Logger
	dirty chan struct{}
}

func newSaver(path string, store *mesh.Store, log *slog.Logger) *saver {
	return &saver{path: path, store: store, log: log, dirty: make(chan struct{}, 1)}
}

// load reads the file, if there is one. A bad one is as good as none.
func (s *saver) load() {
	f, err := os.Open(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		defer f.Close()
		err = s.store.Load(f)
	}
	if err != nil {
		s.log.Warn("saved snapshot not used", "file", s.path, "error", err)
		return
	}
	w, v, p := s.store.Snapshot().Size()
	s.log.Info("saved snapshot is in use", "workloads", w, "services", v, "policies", p)
}

// run writes after changes until ctx ends or over is closed: from then on the file is a successor's.
func (s *saver) run(ctx context.Context, over <-chan struct{}) {
	cancel := s.store.Subscribe(func(mesh.Change) {
		select {
		case s.dirty <- struct{}{}:
		default:
		}
	})
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case <-s.dirty:
		}
		began := time.Now()
		if err := s.save(); err != nil && !errors.Is(err, mesh.ErrNotSynced) {
			s.log.Warn("snapshot not saved", "file", s.path, "error", err)
		}
		wait(ctx, min(saveShare*time.Since(began), saveEvery))
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// save replaces the file in one step.
func (s *saver) save() error {
	if !s.store.Snapshot().Synced() {
		return mesh.ErrNotSynced
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*") // 0600
	if err != nil {
		return fmt.Errorf("make snapshot file: %w", err)
	}
	err = errors.Join(s.store.Save(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write snapshot: %w", err), os.Remove(f.Name()))
	}
	return nil
}
