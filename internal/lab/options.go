package lab

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what to build. Only Bin is required.
type Options struct {
	Name  string   // of letters, digits and dashes; default unique
	Bin   string   // directory with ambit-agent, ambit-ztunnel, ambit-controller and ambit
	Nodes []string // default node-a and node-b

	TrustDomain string        // default cluster.local
	LeafLife    time.Duration // of certificates; 0: the controller's default
	SameNode    string        // ztunnel's --same-node; "": its default
	Engine      string        // ztunnel's --engine; "": its default
	MTU         int           // of all links; 0: 1500
	ProbeCgroup string        // agent's --probe-cgroup; "": the node's kubelet cgroup

	// Manual builds nodes and starts nothing on them: call the Start functions.
	Manual bool

	AgentArgs, ZtunnelArgs, ControllerArgs []string // added at the end

	// ControllerFiles are put into the controller's state directory before its first start, for example
	// a CA of one's own.
	ControllerFiles map[string][]byte

	// App is the program of pods, with its first arguments. Default <Bin>/ambit lab-app.
	App []string

	// Progress is told what happens, a line each. It may be nil.
	Progress func(string)
}

var goodName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$`)

func (o *Options) fill() error {
	if o.Name == "" {
		var b [4]byte
		if _, err := rand.Read(b[:]); err != nil {
			return fmt.Errorf("choose a name: %w", err)
		}
		o.Name = "lab-" + hex.EncodeToString(b[:])
	}
	if len(o.Nodes) == 0 {
		o.Nodes = []string{"node-a", "node-b"}
	}
	for _, n := range append([]string{o.Name}, o.Nodes...) {
		if !goodName.MatchString(n) {
			return fmt.Errorf("name %q: want lower-case letters, digits and dashes", n)
		}
	}
	if len(o.Nodes) > 100 {
		return errors.New("more than 100 nodes")
	}
	o.TrustDomain = cmp.Or(o.TrustDomain, "cluster.local")
	o.MTU = cmp.Or(o.MTU, 1500)
	if len(o.App) == 0 {
		o.App = []string{filepath.Join(o.Bin, "ambit"), "lab-app"}
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return nil
}

// Unusable says why no lab can run here, or nil.
func Unusable() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root: it makes network namespaces and cgroups")
	}
	mount, err := cgroupMount()
	if err != nil {
		return err
	}
	if err := unix.Access(mount, unix.W_OK); err != nil {
		return fmt.Errorf("a lab needs a writable cgroup2 hierarchy: %s: %w", mount, err)
	}
	if err := onOwnThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) }); err != nil {
		return fmt.Errorf("a lab needs to make network namespaces: %w", err)
	}
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("list file systems: %w", err)
	}
	if !strings.Contains(string(b), "\tbpf\n") {
		return errors.New("a lab needs the bpf file system of the kernel")
	}
	return nil
}
