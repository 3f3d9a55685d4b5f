package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Sample is the mesh at one moment.
type Sample struct {
	At    float64                   `json:"at"` // seconds since the start
	Parts map[string]Part           `json:"parts"`
	Maps  map[string]map[string]int `json:"maps"` // by node and map: entries
}

// Part is one process at one moment. Memory is resident, in MB (10^6 bytes): anon is its own, file is its
// program's.
type Part struct {
	PID        int     `json:"pid"`
	Anon       float64 `json:"anon_mb"`
	File       float64 `json:"file_mb"`
	CPU        float64 `json:"cpu_s"` // so far
	Files      int     `json:"descriptors"`
	Threads    int     `json:"threads"`
	Goroutines int     `json:"goroutines"`
	Series     int     `json:"series"` // lines of its metrics
}

func (s *soak) sample(ctx context.Context) (x Sample, err error) {
	x = Sample{At: time.Since(s.result.begin).Seconds(), Parts: map[string]Part{}, Maps: map[string]map[string]int{}}
	if x.Parts["controller"], err = part(ctx, s.lab.Controller().PID(), s.lab.GetController); err != nil {
		return x, fmt.Errorf("controller: %w", err)
	}
	for _, name := range []string{"node-a", "node-b"} {
		n := s.lab.Node(name)
		if x.Parts["agent of "+name], err = part(ctx, n.Agent().PID(), n.GetAgent); err != nil {
			return x, fmt.Errorf("agent of %s: %w", name, err)
		}
		z := n.Ztunnel()
		if z == nil {
			return x, fmt.Errorf("%s has no ztunnel", name)
		}
		if x.Parts["ztunnel of "+name], err = part(ctx, z.PID(), n.GetZtunnel); err != nil {
			return x, fmt.Errorf("ztunnel of %s: %w", name, err)
		}
		if x.Maps[name], err = entries(filepath.Join(s.lab.BPFFS(), "ambit", n.Instance())); err != nil {
			return x, fmt.Errorf("maps of %s: %w", name, err)
		}
		if err := s.trimAccessLog(name); err != nil {
			return x, err
		}
	}
	return x, nil
}

// trimAccessLog counts and drops what was logged: an hour of it would fill the machine.
func (s *soak) trimAccessLog(node string) error {
	path := s.lab.AccessLog(node)
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read access log: %w", err)
	}
	if err := os.Truncate(path, 0); err != nil {
		return fmt.Errorf("trim access log: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Logged += bytes.Count(b, []byte("\n"))
	return nil
}

func part(ctx context.Context, pid int, get func(context.Context, string) ([]byte, error)) (p Part, err error) {
	if p, err = process(pid); err != nil {
		return p, err
	}
	b, err := get(ctx, "/metrics")
	if err != nil {
		return p, err
	}
	for line := range bytes.Lines(b) {
		if line[0] == '#' {
			continue
		}
		p.Series++
		if v, ok := bytes.CutPrefix(line, []byte("go_goroutines ")); ok {
			n, err := strconv.ParseFloat(string(bytes.TrimSpace(v)), 64)
			if err != nil {
				return p, fmt.Errorf("read metrics: %w", err)
			}
			p.Goroutines = int(n)
		}
	}
	return p, nil
}
