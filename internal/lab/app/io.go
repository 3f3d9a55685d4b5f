package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

func (c *Control) on(a *IO) (*conn, error) {
	x, err := get(c, c.conns, a.ID)
	if err != nil {
		return nil, err
	}
	return x, x.SetDeadline(time.Now().Add(timeout(a.Timeout)))
}

// Write sends Data.
func (c *Control) Write(a *IO, _ *struct{}) error {
	x, err := c.on(a)
	if err != nil {
		return err
	}
	_, err = x.Write(a.Data)
	return err
}

// Read reads N bytes, a line, or to the end.
func (c *Control) Read(a *IO, out *Answer) error {
	x, err := c.on(a)
	if err != nil {
		return err
	}
	switch {
	case a.N == 0:
		out.Data, err = x.r.ReadBytes('\n')
	case a.N < 0:
		out.Data, err = io.ReadAll(io.LimitReader(x.r, bodyLimit))
		out.EOF = err == nil
	default:
		out.Data = make([]byte, a.N)
		_, err = io.ReadFull(x.r, out.Data)
	}
	return err
}

// Ping sends Data (default one byte) and expects it back.
func (c *Control) Ping(a *IO, _ *struct{}) error {
	x, err := c.on(a)
	if err != nil {
		return err
	}
	data := a.Data
	if len(data) == 0 {
		data = []byte{'x'}
	}
	return x.ping(data)
}

func (x *conn) ping(data []byte) error {
	if _, err := x.Write(data); err != nil {
		return err
	}
	got := make([]byte, len(data))
	if _, err := io.ReadFull(x.r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return errors.New("echo differs")
	}
	return nil
}

// CloseWrite half-closes.
func (c *Control) CloseWrite(a *IO, _ *struct{}) error {
	x, err := c.on(a)
	if err != nil {
		return err
	}
	return x.CloseWrite()
}

// Close closes.
func (c *Control) Close(a *IO, _ *struct{}) error {
	x, err := take(c, c.conns, a.ID)
	if err != nil {
		return err
	}
	return x.Close()
}

// Reset closes with a TCP reset.
func (c *Control) Reset(a *IO, _ *struct{}) error {
	x, err := take(c, c.conns, a.ID)
	if err != nil {
		return err
	}
	return errors.Join(x.SetLinger(0), x.Close())
}

// Ended waits for the other side to end the connection and says how: "EOF" or an error's text.
func (c *Control) Ended(a *IO, out *string) error {
	x, err := c.on(a)
	if err != nil {
		return err
	}
	if _, err = io.Copy(io.Discard, x.r); err == nil {
		err = io.EOF
	}
	*out = fmt.Sprint(err)
	return nil
}
