package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command is a program to start in a host.
type Command struct {
	Args           []string
	Env            []string // added to this process's
	Cgroup         string   // directory; "": the host's own
	Stdin          io.Reader
	Stdout, Stderr io.Writer // nil: the log, if there is one
	Log            string    // name of the log file; "": none
}

// process is a component that may be started, stopped and started again.
type process struct{ *Process }

// Process is a program that was started in a host.
type Process struct {
	cmd  *exec.Cmd
	log  string // file, "" if none
	done chan struct{}
	err  error // of Wait, once done is closed
}

// Start starts a program inside the host's network namespace and cgroup. It lives until it ends, is
// killed or the lab closes.
func (h *Host) Start(c Command) (*Process, error) {
	if c.Cgroup == "" {
		c.Cgroup = h.cgroup
	}
	cg, err := os.Open(c.Cgroup)
	if err != nil {
		return nil, fmt.Errorf("open cgroup: %w", err)
	}
	defer cg.Close()
	p := &Process{cmd: exec.Command(c.Args[0], c.Args[1:]...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	// A group of its own: the terminal's Ctrl-C is the owner's to handle.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cg.Fd()), Setpgid: true}
	if c.Log != "" {
		f, err := h.lab.openLog(c.Log)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		p.log = f.Name()
		if c.Stdout == nil {
			p.cmd.Stdout = f
		}
		if c.Stderr == nil {
			p.cmd.Stderr = f
		}
	}
	if err := h.ns.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", c.Args[0], h.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (l *Lab) openLog(name string) (*os.File, error) {
	f, err := os.OpenFile(l.LogFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait returns how the process ended.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("wait for process %d: %w", p.PID(), ctx.Err())
	}
}

// Signal sends a signal. One to a process that has ended is no error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.PID(), err)
	}
	return nil
}

// Kill ends the process by SIGKILL and waits for its end.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Stop ends the process by SIGTERM and waits. An exit status other than 0 is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("%w%s", err, p.tail())
	}
	return nil
}

const tailLines = 15

// tail is the end of the log, to be put behind an error.
func (p *Process) tail() string {
	if p.log == "" {
		return ""
	}
	b, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	return "\n" + p.log + ":\n" + strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// until asks again and again, as long as the process lives, until check says nil.
func (p *Process) until(ctx context.Context, check func(context.Context) error) error {
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended: %w%s", errors.Join(p.err, err), p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%w: %w%s", ctx.Err(), err, p.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
