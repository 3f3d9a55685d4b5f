package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/internal/cni"
)

// maxInput bounds what a runtime hands over.
const maxInput = 4 << 20

// delTime is how long DEL waits for the agent: a pod's end must not depend on it.
const delTime = 2 * time.Second

// input is a network configuration, as a runtime completes it.
type input struct {
	CNIVersion string          `json:"cniVersion"`
	Name       string          `json:"name"`
	PrevResult json.RawMessage `json:"prevResult"`
	Valid      []struct {
		ContainerID string `json:"containerID"`
	} `json:"cni.dev/valid-attachments"`
	cni.Config
}

// call is one invocation.
type call struct {
	env func(string) string
	in  input
	cni.Request
	hold time.Duration
}

// run does what CNI_COMMAND says and returns the exit status.
func run(ctx context.Context, env func(string) string, stdin io.Reader, stdout io.Writer) int {
	c := call{env: env, hold: cni.HoldTime}
	out, err := c.do(ctx, stdin)
	if err != nil {
		out = problem(c.in.CNIVersion, err)
	}
	if len(out) > 0 {
		if _, werr := stdout.Write(append(out, '\n')); werr != nil {
			return 1
		}
	}
	if err != nil {
		return 1
	}
	return 0
}

func (c *call) do(ctx context.Context, stdin io.Reader) ([]byte, error) {
	command := c.env("CNI_COMMAND")
	b, err := io.ReadAll(io.LimitReader(stdin, maxInput+1))
	if err != nil || len(b) > maxInput {
		return nil, failure{codeIO, fmt.Errorf("read configuration of %d bytes: %w", len(b), errors.Join(err, errTooLarge))}
	}
	if command == "VERSION" {
		return versions(b), nil
	}
	if err := json.Unmarshal(b, &c.in); err != nil {
		return nil, failure{codeDecode, fmt.Errorf("network configuration: %w", err)}
	}
	switch command {
	case "ADD":
		return c.add(ctx)
	case "DEL":
		c.del(ctx)
		return nil, nil
	case "CHECK":
		return nil, c.check(ctx)
	case "GC":
		c.gc(ctx)
		return nil, nil
	case "STATUS": // without the agent other namespaces' pods must start
		return nil, nil
	}
	return nil, failure{codeEnv, fmt.Errorf("CNI_COMMAND %q: want ADD, DEL, CHECK, GC, STATUS or VERSION", command)}
}

// add holds the pod until the agent has captured it, then gives the result of the plugin before on.
func (c *call) add(ctx context.Context) ([]byte, error) {
	if len(c.in.PrevResult) == 0 || string(c.in.PrevResult) == "null" {
		return nil, failure{codeConfig, errors.New("no prevResult: ambit-cni comes after the plugin that makes the network")}
	}
	if err := c.readRequest(); err != nil {
		return nil, err
	}
	held, err := c.held()
	if err != nil {
		return nil, failure{codeIO, err}
	}
	if held {
		if err := c.ask(ctx, "/add", c.hold); err != nil {
			return nil, failure{codeAgain, fmt.Errorf("pod %s/%s is not in the mesh yet: %w", c.Namespace, c.Name, err)}
		}
	}
	return c.in.PrevResult, nil
}

// held says whether the pod's namespace is in the mesh, by the agent's last word.
func (c *call) held() (bool, error) {
	if c.Namespace == "" || cni.Never(c.Namespace) {
		return false, nil
	}
	list, err := cni.ReadList(c.path(cni.ListName), c.in.SavedList)
	return slices.Contains(list, c.Namespace), err
}

// del tells the agent before the address is given away. Nothing stops a pod's end.
func (c *call) del(ctx context.Context) {
	if c.readRequest() == nil && c.Namespace != "" && !cni.Never(c.Namespace) {
		_ = c.once(ctx, "/del", c.Request, delTime) // the agent finds out by itself, later
	}
}

func (c *call) check(ctx context.Context) error {
	if err := c.readRequest(); err != nil {
		return err
	}
	held, err := c.held()
	if err != nil || !held {
		return nil //nolint:nilerr // that the list cannot be read is not the pod's fault
	}
	var r refusal
	if err := c.once(ctx, "/check", c.Request, delTime); errors.As(err, &r) {
		return failure{codePlugin, r}
	}
	return nil
}

func (c *call) gc(ctx context.Context) {
	v := cni.Valid{ContainerIDs: []string{}}
	for _, a := range c.in.Valid {
		v.ContainerIDs = append(v.ContainerIDs, a.ContainerID)
	}
	_ = c.once(ctx, "/gc", v, delTime) // the agent finds out by itself, later
}

// readRequest collects what the environment and the previous result say of the pod.
func (c *call) readRequest() error {
	c.ContainerID, c.NetNS = c.env("CNI_CONTAINERID"), c.env("CNI_NETNS")
	for kv := range strings.SplitSeq(c.env("CNI_ARGS"), ";") {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "K8S_POD_NAMESPACE":
			c.Namespace = v
		case "K8S_POD_NAME":
			c.Name = v
		case "K8S_POD_UID":
			c.UID = v
		}
	}
	ips, err := addresses(c.in.PrevResult)
	if err != nil {
		return failure{codeDecode, err}
	}
	c.IPs = ips
	return nil
}
