package stage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ambitmesh/ambit/agent/netns"
)

const roleEnv = "AMBIT_STAGE_ROLE"

// Main plays the process's role if it has one, and does not return then. Otherwise, as root, it starts
// the test binary again in a mount namespace of its own.
func Main(more map[string]func() error) {
	roles := map[string]func() error{"box": boxMain, "proxy": proxyMain}
	maps.Copy(roles, more)
	switch role := os.Getenv(roleEnv); {
	case role == "tests" || role == "" && os.Getuid() != 0:
	case role == "":
		os.Exit(again()) //nolint:revive // stands for main
	case roles[role] == nil:
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(2) //nolint:revive // stands for main
	default:
		if err := roles[role](); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1) //nolint:revive // stands for main
		}
		os.Exit(0) //nolint:revive // stands for main
	}
}

func again() int {
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...) //nolint:gosec // its own arguments
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), roleEnv+"=tests")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Process is one process of a role. Its standard streams carry net/rpc.
type Process struct {
	PID int

	cmd   *exec.Cmd
	rpc   *rpc.Client
	said  *output
	ended chan struct{}
}

// place says where a process runs.
type place struct {
	netns  string // "": a new one
	cgroup string
	env    []string
}

// start runs a role until the test ends.
func start(tb testing.TB, role string, at place) *Process {
	tb.Helper()
	cg, err := os.Open(at.cgroup)
	if err != nil {
		tb.Fatalf("open cgroup: %v", err)
	}
	defer cg.Close()
	p := &Process{cmd: exec.CommandContext(context.Background(), "/proc/self/exe"), said: &output{}, ended: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), roleEnv+"="+role), at.env...)
	p.cmd.Stderr = p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(cg.Fd())}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.launch(at.netns); err != nil {
		tb.Fatalf("start %s: %v", role, err)
	}
	p.PID = p.cmd.Process.Pid
	p.rpc = rpc.NewClient(pipes{out, in})
	go func() {
		defer close(p.ended)
		p.cmd.Wait() //nolint:errcheck // how it ended is in its output
	}()
	tb.Cleanup(func() {
		p.Kill()
		for _, bad := range []string{"DATA RACE", "panic:"} {
			if strings.Contains(p.said.String(), bad) {
				tb.Errorf("%s %d: %s", role, p.PID, bad)
			}
		}
		if tb.Failed() {
			tb.Logf("--- %s %d:\n%s", role, p.PID, p.said)
		}
	})
	return p
}

// launch starts the process from a thread inside the namespace: a child inherits its thread's.
func (p *Process) launch(path string) error {
	if path == "" {
		p.cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
		return p.cmd.Start()
	}
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(p.cmd.Start)
}

// Kill ends the process at once (SIGKILL) and waits.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

// Stop asks the process to end (SIGTERM) and waits.
func (p *Process) Stop() { p.signal(syscall.SIGTERM) }

func (p *Process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		<-p.ended
		return
	}
	select {
	case <-p.ended:
	case <-time.After(40 * time.Second):
		p.cmd.Process.Kill() //nolint:errcheck // it has ended meanwhile
		<-p.ended
	}
}

// Wait waits until the process has ended by itself.
func (p *Process) Wait() { <-p.ended }

// Output is what the process wrote to its standard error.
func (p *Process) Output() string { return p.said.String() }

// call makes one call; an answer takes at most two minutes.
func (p *Process) call(method string, args, reply any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	call := p.rpc.Go(method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-ctx.Done():
		return fmt.Errorf("%s of process %d: %w", method, p.PID, ctx.Err())
	}
}

// pipes are a process's standard streams as one connection.
type pipes struct {
	io.ReadCloser
	w io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }

// Close implements io.Closer.
func (p pipes) Close() error {
	p.w.Close()
	return p.ReadCloser.Close()
}

// serve answers calls on this process's standard streams until the caller is gone.
func serve(name string, service any) error {
	s := rpc.NewServer()
	if err := s.RegisterName(name, service); err != nil {
		return err
	}
	s.ServeConn(pipes{os.Stdin, os.Stdout})
	return nil
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(o.b.String())
}
