package cluster

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// apiServer forwards ports as an API server does that knows SPDY only. What is sent comes back in upper
// case; port 1 is closed.
func apiServer(t *testing.T) *Cluster {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/"+Namespace+"/pods/z/portforward" || r.Header.Get("Upgrade") == "websocket" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		streams := make(chan httpstream.Stream, 2)
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return
		}
		conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
			streams <- s
			return nil
		})
		if conn == nil {
			return
		}
		defer conn.Close()
		serve(streams)
		<-conn.CloseChan()
	}))
	t.Cleanup(srv.Close)
	c, err := New(&rest.Config{Host: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(streams <-chan httpstream.Stream) {
	pair := map[string]httpstream.Stream{}
	for range 2 {
		select {
		case s := <-streams:
			pair[s.Headers().Get(corev1.StreamType)] = s
		case <-time.After(time.Minute):
			return
		}
	}
	failures, data := pair[corev1.StreamTypeError], pair[corev1.StreamTypeData]
	if failures == nil || data == nil {
		return
	}
	if data.Headers().Get(corev1.PortHeader) == "1" {
		io.WriteString(failures, "connection refused")
	} else {
		b := make([]byte, 5)
		io.ReadFull(data, b)
		io.WriteString(data, strings.ToUpper(string(b)))
	}
	failures.Close()
	data.Close()
}

func TestForwardCarriesBytes(t *testing.T) {
	conn, err := apiServer(t).Dial(t.Context(), Namespace, "z", 15000)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || string(b) != "HELLO" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestForwardTellsWhy(t *testing.T) {
	c := apiServer(t)
	conn, err := c.Dial(t.Context(), Namespace, "z", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if b, err := io.ReadAll(conn); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("closed port: %q, %v", b, err)
	}
	if _, err := c.Dial(t.Context(), Namespace, "none", 1); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no such pod: %v", err)
	}
}
