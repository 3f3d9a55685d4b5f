package app

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const bodyLimit = 1 << 20 // bytes of an answer that are kept

func (l *listener) serveHTTP() {
	srv := &http.Server{Handler: http.HandlerFunc(l.answer), ReadHeaderTimeout: 10 * time.Second,
		ConnState: func(x net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				l.enter(x)
			case http.StateClosed, http.StateHijacked:
				l.leave(x)
			}
		}}
	srv.Serve(l.l) // ends when the listener is closed
}

func (l *listener) answer(w http.ResponseWriter, r *http.Request) {
	status, body := http.StatusOK, l.args.Name+"\n"
	if l.args.Upstream != "" {
		got, err := fetch(l.args.Upstream, 10*time.Second)
		if err != nil {
			status, got.Body = http.StatusBadGateway, err.Error()+"\n"
		} else if got.Status != http.StatusOK {
			status = http.StatusBadGateway
		}
		body += got.Body
	}
	if l.args.Status != 0 {
		status = l.args.Status
	}
	w.Header().Set("X-Peer", r.RemoteAddr)
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// Get makes one HTTP request.
func (c *Control) Get(a *GetArgs, out *Got) error {
	got, err := fetch(a.URL, timeout(a.Timeout))
	*out = got
	return err
}

func fetch(url string, limit time.Duration) (Got, error) {
	client := http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true}}
	begin := time.Now()
	res, err := client.Get(url)
	if err != nil {
		return Got{}, fmt.Errorf("ask: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, bodyLimit))
	if err != nil {
		return Got{}, fmt.Errorf("read answer: %w", err)
	}
	return Got{Status: res.StatusCode, Body: string(b), Took: time.Since(begin)}, nil
}
