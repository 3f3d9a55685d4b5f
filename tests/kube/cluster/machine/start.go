package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const roleEnv = "AMBIT_KUBE_MACHINE"

// Machine is a machine that runs.
type Machine struct {
	Spec
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts a machine. It dies with the calling process, however that ends.
func Start(s Spec) (*Machine, error) {
	if err := s.write(); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "log/machine.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log of machine %s: %w", s.Name, err)
	}
	defer log.Close()
	m := &Machine{Spec: s, done: make(chan struct{})}
	m.cmd = exec.Command("/proc/self/exe")
	m.cmd.Env = append(os.Environ(), roleEnv+"="+filepath.Join(s.Dir, "spec.json"))
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setsid:     true,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := m.run(); err != nil {
		return nil, fmt.Errorf("start machine %s: %w", s.Name, err)
	}
	return m, nil
}

// run starts the process on a thread that lives as long as the process: the kernel sends the signal of
// Pdeathsig when the thread ends that started it.
func (m *Machine) run() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := m.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = m.cmd.Wait()
		close(m.done)
	}()
	return <-started
}

// Pid of the machine's first process, as the host sees it.
func (m *Machine) Pid() int { return m.cmd.Process.Pid }

// Alive says whether the machine runs.
func (m *Machine) Alive() bool {
	select {
	case <-m.done:
		return false
	default:
		return true
	}
}

// Stop ends all that runs in the machine, at once.
func (m *Machine) Stop() error {
	if !m.Alive() {
		return nil
	}
	if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop machine %s: %w", m.Name, err)
	}
	<-m.done
	return nil
}

// Hold ends a daemon and keeps it down until Release.
func (m *Machine) Hold(daemon string) error {
	return os.WriteFile(filepath.Join(m.Dir, "hold", daemon), nil, 0o644)
}

// Release lets a daemon run.
func (m *Machine) Release(daemon string) error {
	return os.Remove(filepath.Join(m.Dir, "hold", daemon))
}

// Restart ends a daemon, which is started again, and waits for that.
func (m *Machine) Restart(daemon string) error {
	old := m.pidOf(daemon)
	if err := m.Hold(daemon); err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); m.pidOf(daemon) != 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("machine %s: %s (%d) does not end", m.Name, daemon, old)
		}
	}
	return m.Release(daemon)
}

// pidOf is the daemon's process as the machine sees it, 0 if it is down.
func (m *Machine) pidOf(daemon string) int {
	b, err := os.ReadFile(filepath.Join(m.Dir, "pid", daemon))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// Enter is a command that runs in all of the machine's namespaces.
func (m *Machine) Enter(args ...string) *exec.Cmd {
	enter := []string{"-t", strconv.Itoa(m.Pid()), "--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup", "--wd=/", "--"}
	return exec.Command("nsenter", append(enter, args...)...)
}

// EnterNet is a command that runs in the machine's network namespace alone.
func (m *Machine) EnterNet(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(m.Pid()), "--net", "--"}, args...)...)
}
