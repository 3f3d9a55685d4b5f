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

// node is one machine of the mesh, reached through the sockets in its run directory.
type node struct {
	Name string
	Dir  string
}

// nodes are those that the flags name, else this machine's, else a running lab's.
func (o *options) nodes() ([]node, error) {
	switch {
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
		return nil, fmt.Errorf("no mesh on this machine: neither %s nor a running lab; use --run-dir", defaultRunDir)
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
		out = append(out, node{Name: name, Dir: d})
	}
	return out, nil
}

// ask GETs path?query from a socket of the node and returns the body.
func (n node) ask(ctx context.Context, socket, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	file := filepath.Join(n.Dir, socket)
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
		return nil, fmt.Errorf("ask %s of node %s: %w", socket, n.Name, hint(err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", file, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s of node %s: %s", path, n.Name, strings.TrimSpace(string(body)))
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
func get[T any](ctx context.Context, n node, socket, path string, query url.Values) (T, error) {
	var out T
	b, err := n.ask(ctx, socket, path, query)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("decode %s of node %s: %w", path, n.Name, err)
	}
	return out, nil
}
