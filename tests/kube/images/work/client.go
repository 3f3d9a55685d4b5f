package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

func get(url string, timeout time.Duration) error {
	answer, err := (&http.Client{Timeout: timeout}).Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode >= 400 {
		return errors.New(answer.Status)
	}
	return nil
}

const patience = 10 * time.Second

// load connects again and again, without waiting for the connections before, until the time is over or ctx ends.
func load(ctx context.Context, address string, length, every time.Duration) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	failed, n := map[string]int{}, 0
	for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(every) {
		n++
		all.Go(func() {
			if err := once(address); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[cause(err)]++
			}
		})
	}
	all.Wait()
	fmt.Printf("connections=%d\n", n)
	if len(failed) > 0 {
		return fmt.Errorf("failed: %v of %d", failed, n)
	}
	return nil
}

// cause is an error without its addresses, so that like errors can be counted.
func cause(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

func once(address string) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	return ping(c)
}

// ping sends a line and reads it back.
func ping(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line := []byte("hello from the test, hello to the test\n")
	if _, err := c.Write(line); err != nil {
		return err
	}
	back := make([]byte, len(line))
	if _, err := io.ReadFull(c, back); err != nil {
		return err
	}
	if string(back) != string(line) {
		return fmt.Errorf("got back %q", back)
	}
	return nil
}

// hold uses one connection until the time is over or ctx ends.
func hold(ctx context.Context, address string, length time.Duration) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	begin, n := time.Now(), 0
	for ; time.Since(begin) < length && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if err := ping(c); err != nil {
			return fmt.Errorf("after %v: %w", time.Since(begin).Round(time.Millisecond), err)
		}
		n++
	}
	fmt.Printf("pings=%d\n", n)
	return nil
}

// peer connects and says who it believes to talk to.
func peer(address string) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println(c.RemoteAddr()) // of getpeername
	return ping(c)
}
