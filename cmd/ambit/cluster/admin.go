package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

const (
	adminPort   = 15000
	metricsPort = 15020
	answerLimit = 256 << 20 // bytes of one admin answer
)

// Admin GETs path?query from the admin pages of a proxy's pod.
func (c *Cluster) Admin(ctx context.Context, pod, path string, query url.Values) ([]byte, error) {
	return c.ask(ctx, pod, adminPort, path, query)
}

func (c *Cluster) ask(ctx context.Context, pod string, port uint16, path string, query url.Values) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.Dial(ctx, Namespace, pod, port)
		},
	}}
	u := url.URL{Scheme: "http", Host: "localhost", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask pod %s: %w", pod, err)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask pod %s: %w", pod, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return nil, fmt.Errorf("read answer of pod %s: %w", pod, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s of pod %s: %s", path, pod, strings.TrimSpace(string(body)))
	}
	return body, nil
}
