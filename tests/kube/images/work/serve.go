package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", ":9090")
	if err != nil {
		return err
	}
	go echo(l)
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/", who)
	servers := []*http.Server{{Addr: ":8080", Handler: mux}, health()}
	ended := make(chan error, len(servers))
	for _, s := range servers {
		go func() { ended <- s.ListenAndServe() }()
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
		// As a good application does: the endpoint goes first, then the listener.
		time.Sleep(500 * time.Millisecond)
		for _, s := range servers {
			err = errors.Join(err, s.Shutdown(context.Background()))
		}
	}
	return err
}

func who(w http.ResponseWriter, r *http.Request) {
	host, _ := os.Hostname()
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	fmt.Fprintf(w, "pod=%s from=%s path=%s\n", host, from, r.URL.Path)
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// health is grpc.health.v1.Health/Check: always SERVING.
func health() *http.Server {
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 0x08, 1})
		w.Header().Set("Grpc-Status", "0")
	}
	s := &http.Server{Addr: ":9091", Handler: http.HandlerFunc(h), Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}
