// Package cni is what the CNI plugin and the agent say to each other: a list of namespaces on disk, and
// JSON over one HTTP request on a unix socket. The plugin stays small by needing no more than this.
package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Type is the plugin's name: of its binary and in the chain.
const Type = "ambit-cni"

// Names inside the directory that plugin and agent share.
const (
	SocketName = "cni.sock"
	ListName   = "namespaces"
)

// HoldTime is how long a pod of a listed namespace waits for the agent before ADD fails: long enough to
// replace an agent, and well within the two minutes that the kubelet gives a sandbox (runtimeRequestTimeout).
const HoldTime = time.Minute

// Config is the plugin's own part of its network configuration.
type Config struct {
	Type string `json:"type"`
	Dir  string `json:"dir"` // of socket and list
	// SavedList is a copy of the list that outlives a restart of the node.
	SavedList string `json:"savedList,omitempty"`
}

// Request is the body of POST /add, /del and /check.
type Request struct {
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	UID         string   `json:"uid"` // of the sandbox as kubelet writes it; "" if the runtime does not say
	ContainerID string   `json:"containerID"`
	NetNS       string   `json:"netns"` // path in the plugin's mount namespace
	IPs         []string `json:"ips,omitempty"`
}

// Valid is the body of POST /gc: the attachments that still exist.
type Valid struct {
	ContainerIDs []string `json:"containerIDs"`
}

// Reply answers every request.
type Reply struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Never says whether pods of a namespace are never held: the cluster could not start.
func Never(namespace string) bool { return namespace == "kube-system" || namespace == "ambit-system" }

// WriteList replaces a list of namespaces atomically.
func WriteList(path string, namespaces []string) error {
	sorted := slices.Sorted(slices.Values(namespaces))
	text := ""
	if len(sorted) > 0 {
		text = strings.Join(sorted, "\n") + "\n"
	}
	return WriteFile(path, []byte(text), 0o644)
}

// ReadList reads the first of several lists that exists. Without any the list is empty: no agent was
// ever here.
func ReadList(paths ...string) ([]string, error) {
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || path == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read list of namespaces: %w", err)
		}
		return strings.Fields(string(b)), nil
	}
	return nil, nil
}

// WriteFile replaces a file so that nobody sees half of it, and that it outlives a crash.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.ambit-new")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
