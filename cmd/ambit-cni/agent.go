package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/ambitmesh/ambit/internal/cni"
)

// retryTime is how often an agent that is not there is called again: it may be restarting.
const retryTime = 250 * time.Millisecond

// maxReply bounds the agent's answer.
const maxReply = 64 << 10

// refusal is the agent's word, as opposed to its silence.
type refusal struct{ why string }

// Error implements error.
func (r refusal) Error() string { return r.why }

func (c *call) path(name string) string {
	if c.in.Dir == "" {
		return ""
	}
	return filepath.Join(c.in.Dir, name)
}

// ask calls the agent until it answers or the time is over.
func (c *call) ask(ctx context.Context, what string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := c.once(ctx, what, c.Request, limit)
		var r refusal
		if err == nil || errors.As(err, &r) {
			return err
		}
		select {
		case <-time.After(retryTime):
		case <-ctx.Done():
			return fmt.Errorf("the agent did not answer within %s: %w", limit, err)
		}
	}
}

// once makes one request.
func (c *call) once(ctx context.Context, what string, body any, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent"+what, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	socket := c.path(cni.SocketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("call agent at %s: %w", socket, err)
	}
	defer resp.Body.Close()
	var reply cni.Reply
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&reply); err != nil {
		return fmt.Errorf("answer of agent, status %d: %w", resp.StatusCode, err)
	}
	if !reply.OK {
		return refusal{reply.Error}
	}
	return nil
}
