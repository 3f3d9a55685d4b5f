package load_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/tests/bench/load"
)

// The server waits in raw system calls, which the runtime cannot preempt: it needs a process of its own.
func TestMain(m *testing.M) {
	if roles := os.Getenv("LOAD_SERVER"); roles != "" {
		os.Exit(load.Main(append([]string{"server", "127.0.0.1"}, strings.Fields(roles)...), nil, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// freePorts finds ports that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

func startServer(t *testing.T, roles string) <-chan error {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "LOAD_SERVER="+roles)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	return ended
}

func TestVerbsAgainstServer(t *testing.T) {
	ports := freePorts(t, 4)
	ended := startServer(t, fmt.Sprintf("echo:%d once:%d source:%d sink:%d", ports[0], ports[1], ports[2], ports[3]))
	addr := func(role int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[role])) }
	for {
		c, err := net.Dial("tcp4", addr(3))
		if err == nil {
			c.Close()
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the server ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	for _, args := range [][]string{
		{"pingpong", addr(0), "2", "1024", "50ms"},
		{"connect", addr(1), "2", "64", "50ms"},
		{"bulk", addr(2), "2", "50ms"},
		{"upload", addr(3), "2", "50ms"},
		{"send", addr(3), "1024", "50ms"},
		{"visit", "64", addr(0), addr(1)},
	} {
		t.Run(args[0], func(t *testing.T) {
			var out, errw bytes.Buffer
			if code := load.Main(args, nil, &out, &errw); code != 0 {
				t.Fatalf("exit %d: %s", code, errw.String())
			}
			var r load.Result
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if r.Count == 0 || r.Failed != 0 {
				t.Errorf("result %+v: nothing done, or failures", r)
			}
		})
	}
	var out bytes.Buffer
	if code := load.Main([]string{"pingpong", addr(0), "1", "1", "5ms"}, nil, &out, io.Discard); code != 0 {
		t.Fatalf("exit %d", code)
	}
	t.Setenv(load.CPUVar, t.TempDir())
	if code := load.Main([]string{"pingpong", addr(0), "1", "1", "5ms"}, nil, &out, io.Discard); code == 0 {
		t.Error("a cgroup whose CPU time cannot be read is taken for an idle one")
	}
	out.Reset()
	if code := load.Main([]string{"idle", addr(0), "3"}, strings.NewReader(""), &out, io.Discard); code != 0 || out.String() != "READY\n" {
		t.Errorf("idle: exit %d, said %q", code, out.String())
	}
}
