package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Spec says what a machine is. It is written to Dir/spec.json.
type Spec struct {
	Name    string   // host name
	Dir     string   // all that the machine writes
	Cgroup  string   // its place below the root of every hierarchy, as "ambit-kube-1/worker-a"
	Node    *Node    // a Kubernetes node's view of the file system; nil: the host's
	Daemons []Daemon // started in this order
}

// Node is what a machine needs to be a node.
type Node struct {
	Address string // on the fabric
	Plugins string // directory of CNI plugins, copied
	CNI     []byte // the primary plugin's configuration list
}

// Daemon is a program that is started again a second after it ended.
type Daemon struct {
	Name string // log is Dir/log/<name>.log; held while Dir/hold/<name> exists
	Args []string
	Env  []string
}

func (s Spec) write() error {
	for _, d := range []string{"log", "hold", "pid"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, d), 0o755); err != nil {
			return fmt.Errorf("make directory of machine %s: %w", s.Name, err)
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode machine %s: %w", s.Name, err)
	}
	return os.WriteFile(filepath.Join(s.Dir, "spec.json"), b, 0o600)
}

func readSpec(file string) (s Spec, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return s, fmt.Errorf("read machine: %w", err)
	}
	return s, json.Unmarshal(b, &s)
}

// restartAfter is how long a daemon stays down by itself.
const restartAfter = time.Second
