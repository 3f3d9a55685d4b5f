package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Bulk moves bytes both ways at once. It fails unless every byte arrived on both sides.
func (c *Control) Bulk(a *BulkArgs, out *BulkReport) error {
	limit := a.Timeout
	if limit == 0 {
		limit = time.Minute
	}
	x, err := dial(a.Dial)
	if err != nil {
		return err
	}
	defer x.Close()
	begin := time.Now()
	if err := x.SetDeadline(begin.Add(limit)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	h := sha256.New()
	go func() { sent <- x.upload(a, h) }()
	if err := readPattern(x.r, a.Receive); err != nil {
		return fmt.Errorf("receive %d bytes: %w", a.Receive, err)
	}
	if err := <-sent; err != nil {
		return fmt.Errorf("send %d bytes: %w", a.Send, err)
	}
	got, err := io.ReadAll(io.LimitReader(x.r, 1<<10))
	if err != nil {
		return fmt.Errorf("read the server's digest: %w", err)
	}
	if !bytes.Equal(got, h.Sum(nil)) {
		return fmt.Errorf("the server read other bytes than were sent: digest %x, want %x", got, h.Sum(nil))
	}
	*out = BulkReport{Sent: a.Send, Received: a.Receive, Took: time.Since(begin)}
	return nil
}

func (x *conn) upload(a *BulkArgs, h io.Writer) error {
	var want [8]byte
	binary.BigEndian.PutUint64(want[:], uint64(a.Receive))
	if _, err := x.Write(want[:]); err != nil {
		return err
	}
	if err := writePattern(io.MultiWriter(x, h), a.Send); err != nil {
		return err
	}
	return x.CloseWrite()
}
