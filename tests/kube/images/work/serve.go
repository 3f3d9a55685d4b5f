package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// serve ends as a good application does: at SIGTERM it goes on until the endpoint is gone, then ends what is open
// in order.
func serve(linger time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", ":9090")
	if err != nil {
		return err
	}
	var open echoes
	go open.serve(l)
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
		time.Sleep(linger)
		err = errors.Join(l.Close(), open.end())
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
