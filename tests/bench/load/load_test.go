package load_test

import (
	"bytes"
	"encoding/json"
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
	if base := os.Getenv("LOAD_SERVER"); base != "" {
		os.Exit(load.Main([]string{"server", "127.0.0.1", base}, nil, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func startServer(t *testing.T, base string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "LOAD_SERVER="+base)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

func TestVerbsAgainstServer(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := l.Addr().(*net.TCPAddr).Port
	l.Close()
	startServer(t, strconv.Itoa(base))
	addr := func(off int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(base+off)) }
	for {
		c, err := net.Dial("tcp4", addr(2))
		if err == nil {
			c.Close()
			break
		}
		time.Sleep(time.Millisecond)
	}
	for _, args := range [][]string{
		{"pingpong", addr(0), "2", "1024", "50ms"},
		{"connect", addr(1), "2", "50ms"},
		{"bulk", addr(2), "2", "50ms"},
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
	if code := load.Main([]string{"idle", addr(0), "3"}, strings.NewReader(""), &out, io.Discard); code != 0 || out.String() != "READY\n" {
		t.Errorf("idle: exit %d, said %q", code, out.String())
	}
}
