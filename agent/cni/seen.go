package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ambitmesh/ambit/internal/cni"
)

// seenFile lies beside the saved list; its time of modification is when the chain was last seen whole. A
// primary plugin may rewrite its file while no agent runs: the next one counts from there.
const seenFile = ".ambit-chain-seen"

// saveEvery bounds how often it is touched, and so by how much a restart may count too much.
const saveEvery = 10 * time.Second

// readSeen returns when the chain was last seen whole; zero: never, or nobody can tell.
func readSeen(dir string) time.Time {
	fi, err := os.Stat(filepath.Join(dir, seenFile))
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// writeSeen only touches a file that is there: container runtimes read their configuration anew whenever
// something is written in its directory.
func writeSeen(dir string, at time.Time) error {
	path := filepath.Join(dir, seenFile)
	err := os.Chtimes(path, at, at)
	if errors.Is(err, fs.ErrNotExist) {
		if err = cni.WriteFile(path, nil, 0o644); err == nil {
			err = os.Chtimes(path, at, at)
		}
	}
	if err != nil {
		return fmt.Errorf("touch %s: %w", path, err)
	}
	return nil
}
