package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/ambitmesh/ambit/internal/lab"
)

// connection is what the demo reads of a proxy's /connections.
type connection struct {
	Kind        string `json:"kind"`
	Pod         string `json:"pod"`
	Path        string `json:"path"`
	Source      party  `json:"source"`
	Destination party  `json:"destination"`
}

type party struct {
	Address  string `json:"address"`
	Identity string `json:"identity"`
}

// connectionOf finds a live connection of a pod at its node's proxy.
func connectionOf(ctx context.Context, p *lab.Pod, kind string, is func(connection) bool) (connection, error) {
	var all struct {
		Connections []connection `json:"connections"`
	}
	if err := ztunnel(ctx, p.Node, "/connections", &all); err != nil {
		return connection{}, err
	}
	for _, c := range all.Connections {
		if c.Kind == kind && c.Pod == p.FullName() && is(c) {
			return c, nil
		}
	}
	return connection{}, fmt.Errorf("the proxy of %s knows no such %s connection of %s among %d", p.Node.Name, kind, p.FullName(), len(all.Connections))
}

func ztunnel(ctx context.Context, n *lab.Node, path string, out any) error {
	b, err := n.GetZtunnel(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode %s of %s: %w", path, n.Name, err)
	}
	return nil
}

// explanation is what the demo reads of a proxy's /explain.
type explanation struct {
	Allowed   bool   `json:"allowed"`
	Reason    string `json:"reason"`
	Detail    string `json:"detail"`
	Policy    string `json:"policy"`
	Endpoints []struct {
		Workload string `json:"workload"`
		Ejected  bool   `json:"ejected"`
	} `json:"endpoints"`
}

// explain asks the source's node as `ambit explain` does.
func explain(ctx context.Context, from *lab.Pod, destination string) (explanation, error) {
	q := url.Values{"source": {from.FullName()}, "destination": {destination}, "port": {strconv.Itoa(port)}}
	var e explanation
	return e, ztunnel(ctx, from.Node, "/explain?"+q.Encode(), &e)
}

// logLine is what the demo reads of an access log.
type logLine struct {
	Time      time.Time `json:"time"`
	Direction string    `json:"direction"`
	Reason    string    `json:"reason"`
	Policy    string    `json:"policy"`
	Source    string    `json:"src.workload"`
	From      string    `json:"src.addr"`
	Dest      string    `json:"dst.workload"`
	Service   string    `json:"dst.service"`
	Attempts  int       `json:"attempts"`
}

// logged returns the lines of a node's access log since a time.
func (s *shop) logged(node string, since time.Time, is func(logLine) bool) ([]logLine, error) {
	b, err := os.ReadFile(s.lab.AccessLog(node))
	if err != nil {
		return nil, fmt.Errorf("read access log: %w", err)
	}
	var out []logLine
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var l logLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("decode access log line %q: %w", lines.Bytes(), err)
		}
		if !l.Time.Before(since.Truncate(time.Microsecond)) && is(l) {
			out = append(out, l)
		}
	}
	return out, nil
}

// waitLogged waits for at least one such line.
func (s *shop) waitLogged(ctx context.Context, node string, since time.Time, is func(logLine) bool) (logLine, error) {
	var found []logLine
	err := lab.Eventually(ctx, func(context.Context) (err error) {
		found, err = s.logged(node, since, is)
		if err == nil && len(found) == 0 {
			err = errors.New("the access log of " + node + " has no such line")
		}
		return err
	})
	if err != nil {
		return logLine{}, err
	}
	return found[len(found)-1], nil
}
