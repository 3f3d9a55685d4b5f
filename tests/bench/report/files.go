package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

const (
	resultsFile = "results.json"
	machineFile = "machine.json"
)

// Save writes results.json and, beside it, machine.json: where, when and how they were measured.
func Save(dir string, rows []Row, m Machine) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory for results: %w", err)
	}
	if err := write(filepath.Join(dir, resultsFile), rows); err != nil {
		return err
	}
	return write(filepath.Join(dir, machineFile), m)
}

// Load reads what Save wrote.
func Load(dir string) (rows []Row, m Machine, err error) {
	if err := read(filepath.Join(dir, resultsFile), &rows); err != nil {
		return nil, m, err
	}
	return rows, m, read(filepath.Join(dir, machineFile), &m)
}

func write(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

func read(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}
