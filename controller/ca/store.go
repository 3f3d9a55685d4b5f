package ca

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ambitmesh/ambit/controller/state"
)

// Store keeps the CA's files: a directory, or something that several controllers share.
type Store interface {
	// Read returns the files that there are, by name, and the version of all of them together.
	Read(ctx context.Context) (files map[string][]byte, version string, err error)
	// Write replaces our own state (StateFile) and returns the new version, if the store is still at
	// that one; else it wraps ErrMoved.
	Write(ctx context.Context, stateFile []byte, version string) (next string, err error)
}

// The names of the files.
const (
	StateFile  = "ca.json"      // our own roots with their keys, 0600
	OwnCert    = "ca.pem"       // the user's signing certificate, then those between it and the root
	OwnKey     = "ca-key.pem"   // its key
	OwnRoots   = "ca-roots.pem" // the user's trust bundle; default: the last of ca.pem
	bundleFile = "root.pem"     // what clients trust, 0644
)

// ErrStore says that the store cannot be read now.
var ErrStore = errors.New("the CA's store cannot be read")

// ErrMoved says that another controller has changed the store since it was read.
var ErrMoved = errors.New("another controller has changed the CA meanwhile")

// directory is a Store for one controller alone, so it has no versions.
type directory string

// Read implements Store.
func (d directory) Read(context.Context) (map[string][]byte, string, error) {
	files := map[string][]byte{}
	for _, name := range []string{StateFile, OwnCert, OwnKey, OwnRoots} {
		b, err := d.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		files[name] = b
	}
	return files, "", nil
}

func (d directory) read(name string) ([]byte, error) {
	path := filepath.Join(string(d), name)
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	if name == OwnKey && st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key %s: mode %#o lets others read it, want 0600", path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	return b, nil
}

// Write implements Store.
func (d directory) Write(_ context.Context, stateFile []byte, _ string) (string, error) {
	return "", state.WriteFile(filepath.Join(string(d), StateFile), stateFile, 0o600)
}
