package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	defaultRunDir   = "/run/ambit"
	defaultStateDir = "/var/lib/ambit/controller"
	labDir          = "/run/ambit-lab"
	agentSocket     = "agent.sock"
	proxySocket     = "ztunnel.sock"
	askTimeout      = 10 * time.Second
	answerLimit     = 256 << 20 // bytes of one admin answer
)

// asker GETs path?query from a component's admin pages.
type asker func(ctx context.Context, path string, query url.Values) ([]byte, error)

// node is one machine of the mesh.
type node struct {
	Name  string
	Dir   string // its run directory; "" in a cluster
	agent func(context.Context) (agentStatus, error)
	proxy asker
}

// nodes are those that the flags name, else this machine's, else a running lab's, else the cluster's.
func (o *options) nodes(ctx context.Context) ([]node, error) {
	switch {
	case o.inCluster():
		return o.clusterNodes(ctx)
	case len(o.runDirs) > 0:
		return existing(o.runDirs)
	case o.lab != "":
		return labNodes(filepath.Join(labDir, o.lab))
	}
	if n, err := existing([]string{defaultRunDir}); err == nil {
		return n, nil
	}
	labs, _ := filepath.Glob(filepath.Join(labDir, "*", "nodes"))
	switch len(labs) {
	case 0:
		return o.orCluster(ctx, fmt.Errorf("no mesh on this machine: neither %s nor a running lab; use --run-dir or --kube", defaultRunDir))
	case 1:
		return labNodes(filepath.Dir(labs[0]))
	}
	var names []string
	for _, l := range labs {
		names = append(names, filepath.Base(filepath.Dir(l)))
	}
	return nil, fmt.Errorf("several labs run: %s; choose one with --lab", strings.Join(names, ", "))
}

func labNodes(dir string) ([]node, error) {
	runs, _ := filepath.Glob(filepath.Join(dir, "nodes", "*", "run"))
	if len(runs) == 0 {
		return nil, fmt.Errorf("no lab %q with nodes in %s", filepath.Base(dir), filepath.Dir(dir))
	}
	return existing(runs)
}

func existing(dirs []string) ([]node, error) {
	var out []node
	for _, d := range dirs {
		_, agentErr := os.Stat(filepath.Join(d, agentSocket))
		_, proxyErr := os.Stat(filepath.Join(d, proxySocket))
		if agentErr != nil && proxyErr != nil {
			return nil, fmt.Errorf("run directory %s: neither an agent nor a ztunnel: %w", d, agentErr)
		}
		name := filepath.Base(d)
		if name == "run" || d == defaultRunDir {
			name = filepath.Base(filepath.Dir(d))
		}
		if d == defaultRunDir {
			name = "local"
		}
		out = append(out, local(name, d))
	}
	return out, nil
}

// local is a node that is reached through the sockets in its run directory.
func local(name, dir string) node {
	agent := socket(name, dir, agentSocket)
	return node{Name: name, Dir: dir, proxy: socket(name, dir, proxySocket), agent: func(ctx context.Context) (agentStatus, error) {
		return get[agentStatus](ctx, agent, "/status", nil)
	}}
}

// socket asks a component on its socket in dir.
func socket(node, dir, file string) asker {
	return func(ctx context.Context, path string, query url.Values) ([]byte, error) {
		return ask(ctx, node, filepath.Join(dir, file), path, query)
	}
}

func ask(ctx context.Context, node, file, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	socket := filepath.Base(file)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", file)
		},
	}}
	u := url.URL{Scheme: "http", Host: "localhost", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", file, err)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s of node %s: %w", socket, node, hint(err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", file, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s of node %s: %s", path, node, strings.TrimSpace(string(body)))
	}
	return body, nil
}

func hint(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w (the admin sockets are root's: use sudo)", err)
	}
	return err
}

// get asks and decodes a JSON answer.
func get[T any](ctx context.Context, from asker, path string, query url.Values) (T, error) {
	var out T
	b, err := from(ctx, path, query)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("decode %s: %w", path, err)
	}
	return out, nil
}
