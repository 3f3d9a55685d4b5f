// Package app is the program that runs inside a lab's pods: it serves and calls in every way that an
// application may, driven by JSON-RPC on its standard input and output.
package app

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// Service is the name under which Control's methods are called.
const Service = "App"

// Main runs the program and returns its exit status. Without arguments, or with "control", it obeys
// standard input until its end; "serve <kind> <port> [name]" serves until it is told to stop.
func Main(args []string) int {
	err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab-app:", err)
		return 1
	}
	return 0
}

func run(args []string) error {
	switch {
	case len(args) == 0 || args[0] == "control":
		return Serve(os.Stdin, os.Stdout)
	case args[0] == "serve" && (len(args) == 3 || len(args) == 4):
		return serveUntilStopped(args[1:])
	}
	return errors.New("usage: lab-app [control | serve <kind> <port> [name]]")
}

// Serve answers calls from r on w until r ends.
func Serve(r io.Reader, w io.Writer) error {
	c := NewControl()
	defer c.CloseAll()
	s := rpc.NewServer()
	if err := s.RegisterName(Service, c); err != nil {
		return fmt.Errorf("register methods: %w", err)
	}
	s.ServeCodec(jsonrpc.NewServerCodec(stdio{r, w}))
	return nil
}

type stdio struct {
	io.Reader
	io.Writer
}

func (stdio) Close() error { return nil }

func serveUntilStopped(args []string) error {
	port, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("port %q: %w", args[1], err)
	}
	a := ListenArgs{Kind: Kind(args[0]), Port: port}
	if len(args) == 3 {
		a.Name = args[2]
	}
	c := NewControl()
	defer c.CloseAll()
	if err := c.Listen(&a, &Listening{}); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	return nil
}
