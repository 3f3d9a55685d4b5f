package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ambitmesh/ambit/controller/state"
	"github.com/ambitmesh/ambit/controller/xds"
)

// claims keeps which node captures which pods, so that a restarted controller announces the same.
type claims struct {
	path string
	last []byte
}

// restore fills captures from the file. A file that cannot be read is as none: proxies repeat their claims.
func (c *claims) restore(to *xds.Captures) error {
	b, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read claims: %w", err)
	}
	var byNode map[string][]string
	if err := json.Unmarshal(b, &byNode); err != nil {
		return fmt.Errorf("read claims %s: %w", c.path, err)
	}
	to.Restore(byNode)
	return nil
}

// save writes what changed.
func (c *claims) save(from *xds.Captures) error {
	b, err := json.Marshal(from.Claims())
	if err != nil {
		return fmt.Errorf("encode claims: %w", err)
	}
	if bytes.Equal(b, c.last) {
		return nil
	}
	if err := state.WriteFile(c.path, b, 0o600); err != nil {
		return err
	}
	c.last = b
	return nil
}

func claimsIn(dir string) *claims { return &claims{path: filepath.Join(dir, "captured.json")} }
