package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// getUnix GETs a path from an admin socket.
func getUnix(ctx context.Context, socket, path string) ([]byte, error) {
	return get(ctx, path, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	})
}

func get(ctx context.Context, url string, dial func(context.Context, string, string) (net.Conn, error)) ([]byte, error) {
	if strings.HasPrefix(url, "/") {
		url = "http://localhost" + url
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer to %s: %w", url, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d: %s", url, res.StatusCode, bytes.TrimSpace(body))
	}
	return body, nil
}

// GetAgent asks the agent's admin socket, for example for "/status".
func (n *Node) GetAgent(ctx context.Context, path string) ([]byte, error) {
	return getUnix(ctx, filepath.Join(n.RunDir(), "agent.sock"), path)
}

// GetZtunnel asks the newest ztunnel's admin socket, for example for "/connections".
func (n *Node) GetZtunnel(ctx context.Context, path string) ([]byte, error) {
	return getUnix(ctx, filepath.Join(n.RunDir(), "ztunnel.sock"), path)
}

// GetController asks the controller's admin socket.
func (l *Lab) GetController(ctx context.Context, path string) ([]byte, error) {
	return getUnix(ctx, filepath.Join(l.ControllerDir(), "controller.sock"), path)
}

// GetFrom asks a URL with a numeric host from inside the host's namespace.
func (h *Host) GetFrom(ctx context.Context, url string) ([]byte, error) { return get(ctx, url, h.Dial) }
